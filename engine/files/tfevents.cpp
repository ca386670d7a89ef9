#include "engine/files/tfevents.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "audio/sound_file.h"
#include "base/error.h"
#include "engine/files/crc32c.h"

namespace melflow::files {
namespace {

/// Records mask their checksums, since data that hold their own checksum weaken it.
uint32_t masked(uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

// Protocol buffers, the writing half: a field is (number · 8 + wire type) as varint, then its value.
enum Wire : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string varint(uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7) text += static_cast<char>((value & 0x7f) | 0x80);
  return text + static_cast<char>(value);
}
std::string field(uint64_t number, Wire wire) { return varint(number << 3 | wire); }
std::string bytes_field(uint64_t number, std::string_view value) {
  return field(number, kBytes) + varint(value.size()) + std::string(value);
}
std::string int_field(uint64_t number, int64_t value) {
  return field(number, kVarint) + varint(static_cast<uint64_t>(value));
}
template <typename Number>
std::string raw(Number value) {
  std::string text(sizeof value, '\0');
  std::memcpy(text.data(), &value, sizeof value);
  return text;
}
std::string float_field(uint64_t number, float value) { return field(number, kFixed32) + raw(value); }
std::string double_field(uint64_t number, double value) { return field(number, kFixed64) + raw(value); }
std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Field numbers of event.proto and summary.proto.
/// Event{wall_time = 1, step = 2, summary = 5}, Summary{value = 1}, Value{tag = 1, and one of the values}.
std::string summary_event(double wall_time, int64_t step, const std::string& tag, const std::string& value) {
  const std::string summary = bytes_field(1, bytes_field(1, tag) + value);
  return double_field(1, wall_time) + int_field(2, step) + bytes_field(5, summary);
}
/// SummaryMetadata{plugin_data = 1 {plugin_name = 1}}: tells TensorBoard which of its panes shows a tensor.
std::string plugin_metadata(std::string_view plugin) { return bytes_field(9, bytes_field(1, bytes_field(1, plugin))); }

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  std::string text = name.data();
  for (char& c : text) c = c == '/' ? '_' : c;
  return text;
}

}  // namespace

std::vector<std::byte> event_record(std::string_view payload) {
  const std::string length = raw<uint64_t>(payload.size());
  std::string record = length + raw(masked(crc32c(std::as_bytes(std::span(length)))));
  record += payload;
  record += raw(masked(crc32c(std::as_bytes(std::span(payload)))));
  const auto bytes = std::as_bytes(std::span(record));
  return {bytes.begin(), bytes.end()};
}

std::string scalar_event(double wall_time, int64_t step, const std::string& tag, float value) {
  return summary_event(wall_time, step, tag, float_field(2, value));
}

EventWriter::EventWriter(const std::filesystem::path& folder) {
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  const auto seconds = static_cast<int64_t>(now());
  // A process may open several writers within one second: the count makes each name new.
  for (int count = 0; descriptor_ < 0; ++count) {
    path_ = folder / ("events.out.tfevents." + std::to_string(seconds) + "." + host_name() + "." +
                      std::to_string(::getpid()) + "." + std::to_string(count));
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST && errno != EINTR) {
      throw Error(Exit::cannot_create, path_.string() + ": cannot be created: " + std::strerror(errno) +
                                           "; choose a folder that can be written");
    }
  }
  append(double_field(1, now()) + bytes_field(3, "brain.Event:2"));
}

EventWriter::~EventWriter() {
  try {
    write_pending();
  } catch (const Error&) {  // whoever needs to know calls flush() first
  }
  ::close(descriptor_);
}

void EventWriter::append(std::string_view event) {
  constexpr size_t kPendingBytes = 65536;
  const std::vector<std::byte> record = event_record(event);
  pending_.insert(pending_.end(), record.begin(), record.end());
  if (pending_.size() >= kPendingBytes) write_pending();
}

void EventWriter::write_pending() {
  std::span<const std::byte> rest = pending_;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const std::string reason = std::strerror(errno);
      pending_.assign(rest.begin(), rest.end());  // a later attempt goes on exactly where this one stopped
      throw Error(Exit::io_error, path_.string() + ": cannot be written: " + reason + "; make room on the disk");
    }
    rest = rest.subspan(static_cast<size_t>(written));
  }
  pending_.clear();
}

void EventWriter::flush() {
  write_pending();
  int code = 0;
  do {
    code = ::fsync(descriptor_) == 0 ? 0 : errno;
  } while (code == EINTR);
  if (code != 0 && code != EINVAL) {
    throw Error(Exit::io_error, path_.string() + ": cannot be flushed to the disk: " + std::strerror(code));
  }
}

void EventWriter::scalar(const std::string& tag, int64_t step, float value) {
  append(scalar_event(now(), step, tag, value));
}

void EventWriter::audio(const std::string& tag, int64_t step, const audio::Waveform& waveform) {
  using audio::Encoding;
  const auto frames = static_cast<int64_t>(waveform.samples.size());
  const auto header = audio::wav_header(waveform.sample_rate, Encoding::pcm16, frames);
  const auto samples = audio::encode_pcm(waveform.samples, Encoding::pcm16);
  // Audio{sample_rate = 1, num_channels = 2, length_frames = 3, encoded_audio_string = 4, content_type = 5}
  const std::string message =
      float_field(1, static_cast<float>(waveform.sample_rate)) + int_field(2, 1) + int_field(3, frames) +
      bytes_field(4, std::string(as_text(header)) + std::string(as_text(samples))) + bytes_field(5, "audio/wav");
  append(summary_event(now(), step, tag, bytes_field(6, message)));
}

void EventWriter::image(const std::string& tag, int64_t step, const Image& image) {
  constexpr int kRgb = 3;
  // Image{height = 1, width = 2, colorspace = 3, encoded_image_string = 4}
  const std::string message = int_field(1, image.height) + int_field(2, image.width) + int_field(3, kRgb) +
                              bytes_field(4, as_text(png_bytes(image)));
  append(summary_event(now(), step, tag, bytes_field(4, message)));
}

void EventWriter::begins_again(int64_t step) {
  // Event{session_log = 7}, SessionLog{status = 1}; START is 1.
  append(double_field(1, now()) + int_field(2, step) + bytes_field(7, int_field(1, 1)));
}

void EventWriter::text(const std::string& tag, int64_t step, const std::string& markdown) {
  constexpr int kString = 7;  // DT_STRING
  // TensorProto{dtype = 1, tensor_shape = 2 {dim = 2 {size = 1}}, string_val = 8}
  const std::string shape = bytes_field(2, int_field(1, 1));
  const std::string tensor = int_field(1, kString) + bytes_field(2, shape) + bytes_field(8, markdown);
  append(summary_event(now(), step, tag, bytes_field(8, tensor) + plugin_metadata("text")));
}

}  // namespace melflow::files
