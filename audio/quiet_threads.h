#pragma once

namespace melflow::audio {

/// PortAudio and ALSA print what goes wrong in the threads that they make, in lines that mean nothing to whom is told
/// by the caller anyway. What is printed to stdio's stderr by a thread that has called quiet_this_thread() goes nowhere
/// from then on; the rest goes where it went. glibc lets `stderr` be assigned; elsewhere nothing changes.
void install_quiet_stderr();

/// Neither allocates nor waits.
void quiet_this_thread() noexcept;

}  // namespace melflow::audio
