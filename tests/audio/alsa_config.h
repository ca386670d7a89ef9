#pragma once

#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/support/shared.h"

namespace melflow::testing {

/// A machine whose sound devices are those of this ALSA configuration and no others.
class AlsaConfig {
 public:
  explicit AlsaConfig(const std::string& text) {
    std::ofstream(folder_ / "asound.conf") << text;
    if (const char* before = ::getenv("ALSA_CONFIG_PATH")) before_ = before;
    ::setenv("ALSA_CONFIG_PATH", (folder_ / "asound.conf").c_str(), 1);
  }
  ~AlsaConfig() {
    if (before_.empty()) {
      ::unsetenv("ALSA_CONFIG_PATH");
    } else {
      ::setenv("ALSA_CONFIG_PATH", before_.c_str(), 1);
    }
  }
  AlsaConfig(const AlsaConfig&) = delete;
  AlsaConfig& operator=(const AlsaConfig&) = delete;

 private:
  TempDir folder_;
  std::string before_;
};

/// One device, on which nothing is heard and which takes samples as fast as they come.
inline const char* null_device() { return "pcm.!default { type null }\nctl.!default { type null }\n"; }

/// A device "tofile" that writes what it gets, in its own sample format, to `path`.
inline std::string file_device(const std::string& path) {
  return "pcm.null { type null }\npcm.tofile {\n  type file\n  slave.pcm \"null\"\n  file \"" + path +
         "\"\n  format \"raw\"\n  hint { show on description \"writes a file\" }\n}\n"
         "pcm.!default { type null }\nctl.!default { type null }\n";
}

}  // namespace melflow::testing
