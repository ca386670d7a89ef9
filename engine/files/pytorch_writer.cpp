#include "engine/files/pytorch_writer.h"

#include <zlib.h>

#include <array>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace melflow::files {
namespace {

template <typename Number>
void put(std::string& out, Number value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// An archive of stored members, written front to back.
class ZipWriter {
 public:
  ZipWriter(const std::filesystem::path& path, AtomicFile::Existing existing) : file_(path, existing) {}

  void add(const std::string& name, std::span<const std::byte> content) {
    constexpr uint64_t kMost = 0xffff0000;  // offsets have 32 bits
    constexpr size_t kAlignment = 64, kLocalBytes = 30, kExtraHead = 4;
    if (content.size() > kMost || offset_ > kMost - content.size()) {
      throw Error(Exit::bad_data, file_.target().string() + ": would be larger than 4 GiB; convert to .safetensors");
    }
    const uint32_t crc =
        static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()));
    const size_t before = offset_ + kLocalBytes + name.size() + kExtraHead;
    const size_t padding = (kAlignment - before % kAlignment) % kAlignment;
    std::string extra;
    put<uint16_t>(extra, 0x4246);  // "FB", as torch.save pads
    put<uint16_t>(extra, static_cast<uint16_t>(padding));
    extra.append(padding, 'Z');
    std::string header("PK\3\4", 4);
    header += fields(crc, content.size(), name.size());
    put<uint16_t>(header, static_cast<uint16_t>(extra.size()));
    directory_ += std::string("PK\1\2\0\0", 6) + fields(crc, content.size(), name.size());
    directory_.append(12, '\0');  // extra, comment, disk, attributes
    put<uint32_t>(directory_, static_cast<uint32_t>(offset_));
    directory_ += name;
    ++members_;
    write_text(header + name + extra);
    write(content);
  }

  void finish() {
    std::string end("PK\5\6\0\0\0\0", 8);
    put<uint16_t>(end, members_);
    put<uint16_t>(end, members_);
    put<uint32_t>(end, static_cast<uint32_t>(directory_.size()));
    put<uint32_t>(end, static_cast<uint32_t>(offset_));
    put<uint16_t>(end, 0);
    write_text(directory_ + end);
    file_.commit();
  }

 private:
  /// What a member's two headers have in common: version, flags, method, time, checksum, sizes, name's length.
  static std::string fields(uint32_t crc, size_t size, size_t name) {
    std::string out;
    for (const int field : {20, 0x0800, 0, 0, 0x0021})
      put(out, static_cast<uint16_t>(field));  // UTF-8 names; stored; 1 January 1980
    put<uint32_t>(out, crc);
    put<uint32_t>(out, static_cast<uint32_t>(size));
    put<uint32_t>(out, static_cast<uint32_t>(size));
    put<uint16_t>(out, static_cast<uint16_t>(name));
    return out;
  }
  void write_text(const std::string& text) { write(std::as_bytes(std::span(text))); }
  void write(std::span<const std::byte> bytes) {
    file_.write(bytes);
    offset_ += bytes.size();
  }

  AtomicFile file_;
  std::string directory_;
  size_t offset_ = 0;
  uint16_t members_ = 0;
};

std::string storage_class(Dtype dtype) {
  switch (dtype) {
    case Dtype::f64:
      return "DoubleStorage";
    case Dtype::f32:
      return "FloatStorage";
    case Dtype::f16:
      return "HalfStorage";
    case Dtype::bf16:
      return "BFloat16Storage";
    default:
      throw Error(Exit::internal, "a state dictionary of " + name_of(dtype) + " is not written");
  }
}

/// Pickle protocol 2, as little of it as a state dictionary needs.
class PickleWriter {
 public:
  std::string out{"\x80\x02", 2};

  void text(std::string_view value) {
    out += 'X';
    put<uint32_t>(out, static_cast<uint32_t>(value.size()));
    out += value;
  }
  void integer(int64_t value) {
    if (value >= INT32_MIN && value <= INT32_MAX) {
      out += 'J';
      put<int32_t>(out, static_cast<int32_t>(value));
    } else {
      out += std::string("\x8a\x08", 2);
      put<int64_t>(out, value);
    }
  }
  void integers(const std::vector<int64_t>& values) {
    out += '(';
    for (const int64_t value : values) integer(value);
    out += 't';
  }
  void global(const std::string& module, const std::string& name) { out += "c" + module + "\n" + name + "\n"; }
  void empty_ordered_dict() {
    global("collections", "OrderedDict");
    out += ")R";
  }

  /// torch._utils._rebuild_tensor_v2(storage, 0, size, stride, requires_grad=False, OrderedDict())
  void tensor(const TensorView& view, const std::string& key) {
    std::vector<int64_t> strides(view.shape.size(), 1);
    for (size_t axis = strides.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * view.shape[axis];
    global("torch._utils", "_rebuild_tensor_v2");
    out += "((";
    text("storage");
    global("torch", storage_class(view.dtype));
    text(key);
    text("cpu");
    integer(static_cast<int64_t>(view.bytes.size() / size_of(view.dtype)));
    out += "tQ";
    integer(0);
    integers(view.shape);
    integers(strides);
    out += '\x89';
    empty_ordered_dict();
    out += "tR";
  }
};

}  // namespace

void write_state_dict(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                      AtomicFile::Existing existing) {
  if (tensors.size() > 60000) throw Error(Exit::bad_data, path.string() + ": has too many tensors for a zip archive");
  PickleWriter pickle;
  pickle.empty_ordered_dict();
  pickle.out += '(';
  size_t count = 0;
  for (const auto& [name, view] : tensors) {
    pickle.text(name);
    pickle.tensor(view, std::to_string(count++));
  }
  pickle.out += "u.";
  ZipWriter zip(path, existing);
  const std::string folder = "archive/";
  zip.add(folder + "data.pkl", std::as_bytes(std::span(pickle.out)));
  zip.add(folder + "byteorder", std::as_bytes(std::span(std::string_view("little"))));
  count = 0;
  for (const auto& [name, view] : tensors) zip.add(folder + "data/" + std::to_string(count++), view.bytes);
  zip.add(folder + "version", std::as_bytes(std::span(std::string_view("3\n"))));
  zip.finish();
}

}  // namespace melflow::files
