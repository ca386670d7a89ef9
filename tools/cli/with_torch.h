#pragma once

#include <filesystem>
#include <string>

#include "engine/synth/synthesizer.h"

namespace melflow::tools {

/// LibTorch takes a third of a second to load, which who only wants to hear something need not wait for. So there are
/// two programs of one table of verbs: melflow, without LibTorch, and melflow-torch beside it, with. What needs
/// LibTorch is declared here, in verbs/verbs.h and bench/benches.h, and defined twice: in without_torch.cpp it throws
/// NeedsTorch, upon which main() becomes the other program, with the same arguments.
struct NeedsTorch {};

/// To be called first: in melflow-torch, the memory that LibTorch gives back stays with the program (up to 256 MiB at
/// once). The kernel would hand out every tensor of some size as fresh pages, at each operation again, which took half
/// of the time of flows of images. Nothing in melflow.
void keep_memory();

/// A voice on a GPU. Throws Error{unavailable} where there is none, and as VoiceFile does.
engine::Synthesizer open_on_gpu(const std::filesystem::path& voice, const engine::SynthOptions& options);

/// What stands against --device cuda; empty: nothing.
std::string gpu_problem();

/// So many threads of the CPU for LibTorch; 0: as many as there are. Fewer where the system gives no more (a
/// container's limit), which OpenMP would end the program for, or wait for ever. In melflow-torch alone.
void use_threads(int threads);

/// Throws NeedsTorch in melflow: for a verb that would find out late.
void require_torch();

/// LibTorch's version; empty in melflow.
std::string torch_version();

/// The program with LibTorch, whether it is there or not.
std::filesystem::path torch_program();
/// Where this program lies; empty where the system does not tell.
std::filesystem::path program_folder();

}  // namespace melflow::tools
