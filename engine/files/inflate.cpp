#include "engine/files/inflate.h"

#include <zlib.h>

#include <algorithm>

#include "base/error.h"

namespace melflow::files {
namespace {

constexpr int kRaw = -MAX_WBITS, kGzip = 16 + MAX_WBITS;

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": its compressed data " + what + "; fetch the file again");
}

class Inflater {
 public:
  Inflater(std::span<const std::byte> input, int window, const std::string& name) : input_(input), name_(name) {
    if (inflateInit2(&stream_, window) != Z_OK) throw Error(Exit::internal, name + ": zlib does not start");
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// Fills as much of `out` as the data have; how much that was.
  size_t fill(std::span<std::byte> out) {
    constexpr size_t kPiece = size_t{1} << 30;  // zlib counts in 32 bits
    size_t filled = 0;
    while (!ended_ && filled < out.size()) {
      if (stream_.avail_in == 0) {
        const auto piece = input_.subspan(read_, std::min(kPiece, input_.size() - read_));
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(piece.data()));
        stream_.avail_in = static_cast<uInt>(piece.size());
        read_ += piece.size();
      }
      const size_t room = std::min(kPiece, out.size() - filled);
      stream_.next_out = reinterpret_cast<Bytef*>(out.data() + filled);
      stream_.avail_out = static_cast<uInt>(room);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      filled += room - stream_.avail_out;
      ended_ = status == Z_STREAM_END;
      if (status == Z_BUF_ERROR && !input_left()) break;  // cut off
      if (!ended_ && status != Z_OK) refuse(name_, "are damaged");
    }
    return filled;
  }
  /// Whether the data end where they say that they end. An end marker alone may still be unread.
  bool ended() {
    std::byte more;
    return ended_ || (fill({&more, 1}) == 0 && ended_);
  }
  bool input_left() const { return stream_.avail_in > 0 || read_ < input_.size(); }
  /// Behind the end of one member, of which the next has the header.
  void start_member() {
    if (inflateReset(&stream_) != Z_OK) refuse(name_, "do not go on");
    ended_ = false;
  }

 private:
  std::span<const std::byte> input_;
  const std::string& name_;
  z_stream stream_{};
  size_t read_ = 0;
  bool ended_ = false;
};

}  // namespace

std::vector<std::byte> inflate_exactly(std::span<const std::byte> deflated, size_t size, const std::string& name) {
  constexpr size_t kMostPerByte = 1032;  // deflate cannot do better: what claims more is refused before allocation
  if (size / kMostPerByte > deflated.size()) refuse(name, "cannot be as large as they claim");
  std::vector<std::byte> out(size);
  Inflater inflater(deflated, kRaw, name);
  if (inflater.fill(out) != size || !inflater.ended()) refuse(name, "have not the length that they claim");
  return out;
}

std::vector<std::byte> gunzip(std::span<const std::byte> bytes, const std::string& name, size_t most) {
  constexpr size_t kStep = size_t{1} << 16;
  Inflater inflater(bytes, kGzip, name);
  std::vector<std::byte> out;
  while (true) {
    const size_t before = out.size(), step = std::min(kStep, most + 1 - before);
    out.resize(before + step);
    const size_t filled = inflater.fill(std::span(out).last(step));
    out.resize(before + filled);
    if (out.size() > most)
      throw Error(Exit::bad_data, name + ": its compressed data become more than " + std::to_string(most) + " bytes");
    if (filled == step) continue;
    if (!inflater.ended()) refuse(name, "are cut off");
    if (!inflater.input_left()) return out;
    inflater.start_member();
  }
}

}  // namespace melflow::files
