#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "audio/waveform.h"
#include "engine/files/picture.h"

namespace melflow::files {

/// One record of an event file: length, masked checksum of the length, payload, masked checksum of the payload.
std::vector<std::byte> event_record(std::string_view payload);

/// The payload of one scalar: an Event message of TensorBoard. `wall_time` in seconds since 1970.
std::string scalar_event(double wall_time, int64_t step, const std::string& tag, float value);

/// Writes what TensorBoard shows, without its libraries: one new file per writer,
/// events.out.tfevents.<unix time>.<host>.<process>.<count>, to which records are appended.
class EventWriter {
 public:
  /// Makes the folder where it is missing. Throws Error{cannot_create}; every method may throw Error{io_error}.
  explicit EventWriter(const std::filesystem::path& folder);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  void scalar(const std::string& tag, int64_t step, float value);
  void audio(const std::string& tag, int64_t step, const melflow::audio::Waveform& waveform);  ///< as 16-bit WAV
  void image(const std::string& tag, int64_t step, const Image& image);                        ///< as PNG
  /// Another writer has gone before: of its records those from `step` on are shown no more.
  void begins_again(int64_t step);
  void text(const std::string& tag, int64_t step, const std::string& markdown);

  /// Hands everything to the operating system and waits until it is on the disk. Records otherwise reach the file
  /// as soon as 64 KiB have gathered; the destructor writes the rest.
  void flush();
  const std::filesystem::path& path() const { return path_; }

 private:
  void append(std::string_view event);
  void write_pending();

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::vector<std::byte> pending_;
};

}  // namespace melflow::files
