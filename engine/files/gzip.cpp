#include "engine/files/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace melflow::files {
namespace {

/// zlib's state, which must be given back.
class Inflater {
 public:
  explicit Inflater(const std::string& name) {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw Error(Exit::internal, name + ": zlib cannot start");
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
};

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": not a readable gzip file: " + what);
}

}  // namespace

std::vector<std::byte> gunzip(std::span<const std::byte> bytes, const std::string& name, size_t most) {
  constexpr size_t kStep = size_t{1} << 16;
  Inflater inflater(name);
  auto& z = inflater.stream();
  std::vector<std::byte> out;
  size_t taken = 0;
  while (true) {
    if (z.avail_in == 0 && taken < bytes.size()) {
      const auto part = std::min<size_t>(bytes.size() - taken, std::numeric_limits<uInt>::max());
      z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data() + taken));
      z.avail_in = static_cast<uInt>(part);
      taken += part;
    }
    const size_t before = out.size();
    if (before >= most) refuse(name, "it unpacks to more than " + std::to_string(most) + " bytes");
    const size_t room = std::min(kStep, most - before);
    out.resize(before + room);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    z.avail_out = static_cast<uInt>(room);
    const int result = inflate(&z, Z_NO_FLUSH);
    out.resize(before + room - z.avail_out);
    const bool input_left = z.avail_in > 0 || taken < bytes.size();
    if (result == Z_STREAM_END) {
      if (!input_left) return out;
      if (inflateReset(&z) != Z_OK) refuse(name, "zlib cannot go on");
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      refuse(name, "it is damaged");
    } else if (!input_left && z.avail_out > 0) {
      refuse(name, "it is cut off");
    }
  }
}

}  // namespace melflow::files
