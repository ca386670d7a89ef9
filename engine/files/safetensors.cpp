#include "engine/files/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "cpu/clones.h"
#include "engine/files/float_formats.h"
#include "engine/files/safetensors_header.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kPrefixBytes = 8;  // the header's length, little-endian

struct DtypeRow {
  Dtype dtype;
  const char* name;
  size_t bytes;
};
/// In the order in which the reference implementation lays tensors out in a file: wide types first, so that each
/// tensor is aligned to its own element.
constexpr DtypeRow kDtypes[] = {
    {Dtype::i64, "I64", 8},   {Dtype::f64, "F64", 8},      {Dtype::f32, "F32", 4}, {Dtype::i32, "I32", 4},
    {Dtype::bf16, "BF16", 2}, {Dtype::f16, "F16", 2},      {Dtype::i16, "I16", 2}, {Dtype::i8, "I8", 1},
    {Dtype::u8, "U8", 1},     {Dtype::boolean, "BOOL", 1},
};
const DtypeRow& row_of(Dtype dtype) {
  return *std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const DtypeRow& row) { return row.dtype == dtype; });
}

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data,
              name + ": not a valid safetensors file: " + what + "; fetch the file again or convert it anew");
}

/// shape × size in bytes; nothing where that overflows.
std::optional<uint64_t> byte_count(Dtype dtype, const std::vector<int64_t>& shape) {
  uint64_t bytes = size_of(dtype);
  for (const int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes)) return std::nullopt;
  }
  return bytes;
}

/// In file order the ranges must follow each other from 0 to the end: no overlap, no hole, nothing appended.
void check_layout(const std::map<std::string, TensorEntry>& tensors, uint64_t data_bytes, const std::string& name) {
  std::vector<const std::pair<const std::string, TensorEntry>*> ordered;
  ordered.reserve(tensors.size());
  for (const auto& item : tensors) ordered.push_back(&item);
  std::sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t reached = 0;
  for (const auto* item : ordered) {
    const TensorEntry& entry = item->second;
    const std::string tensor = "tensor " + shown_name(item->first);
    if (entry.begin > entry.end) refuse(name, tensor + " ends before it begins");
    if (entry.end > data_bytes) refuse(name, tensor + " reaches beyond the end of the file");
    if (entry.begin < reached) refuse(name, tensor + " overlaps another");
    if (entry.begin > reached) refuse(name, "there is a hole before " + tensor);
    if (byte_count(entry.dtype, entry.shape) != entry.end - entry.begin) {
      refuse(name, tensor + " has a shape that does not agree with its bytes");
    }
    reached = entry.end;
  }
  if (reached != data_bytes) {
    refuse(name, std::to_string(data_bytes - reached) + " bytes at its end belong to no tensor");
  }
}

template <typename Source, typename Convert>
std::vector<float> converted(std::span<const std::byte> bytes, Convert convert) {
  std::vector<float> values(bytes.size() / sizeof(Source));
  for (size_t i = 0; i < values.size(); ++i) {
    Source source;
    std::memcpy(&source, bytes.data() + i * sizeof(Source), sizeof(Source));
    values[i] = convert(source);
  }
  return values;
}

/// converted() for what voices are stored in, by vector instructions.
MELFLOW_CPU_CLONES
void convert_halves(const std::byte* __restrict bytes, std::span<float> values) {
  float* __restrict out = values.data();
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, bytes + i * sizeof half, sizeof half);
    out[i] = float_from_half(half);
  }
}

std::string json_text(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(Exit::bad_data,
                "the text " + shown_name(text) + " is not UTF-8 and cannot be stored in a safetensors file");
  }
}

using Item = std::pair<const std::string, TensorView>;

std::string header_text(const std::vector<const Item*>& ordered, const std::map<std::string, std::string>& metadata) {
  std::string header = "{";
  const auto separate = [&] { header += header.back() == '{' ? "" : ","; };
  if (!metadata.empty()) {
    header += R"("__metadata__":{)";
    for (const auto& [key, value] : metadata) {
      separate();
      header += json_text(key) + ":" + json_text(value);
    }
    header += '}';
  }
  uint64_t offset = 0;
  for (const Item* item : ordered) {
    const TensorView& tensor = item->second;
    separate();
    header += json_text(item->first) + R"(:{"dtype":")" + name_of(tensor.dtype) + R"(","shape":)" +
              nlohmann::json(tensor.shape).dump() + R"(,"data_offsets":[)" + std::to_string(offset) + ",";
    offset += tensor.bytes.size();
    header += std::to_string(offset) + "]}";
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');  // the data begin at a multiple of 8, as the reference has it
  return header;
}

}  // namespace

size_t size_of(Dtype dtype) { return row_of(dtype).bytes; }

int64_t number_count(const std::map<std::string, TensorView>& tensors) {
  int64_t count = 0;
  for (const auto& [key, view] : tensors) count += static_cast<int64_t>(view.bytes.size() / size_of(view.dtype));
  return count;
}
std::string name_of(Dtype dtype) { return row_of(dtype).name; }

SafetensorsContent parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() < kPrefixBytes) refuse(name, "it is shorter than its own header length");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeaderBytes) refuse(name, "its header claims more than 100,000,000 bytes");
  if (length > bytes.size() - kPrefixBytes) refuse(name, "its header reaches beyond the end of the file");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kPrefixBytes, length);
  if (!text.starts_with('{')) refuse(name, "its header does not begin with '{'");
  SafetensorsHeader header = parse_safetensors_header(text, name);
  const auto data = bytes.subspan(kPrefixBytes + length);
  check_layout(header.tensors, data.size(), name);
  SafetensorsContent content{std::move(header.metadata), {}};
  for (auto& [tensor, entry] : header.tensors) {
    content.tensors.emplace(
        tensor, TensorView{entry.dtype, std::move(entry.shape), data.subspan(entry.begin, entry.end - entry.begin)});
  }
  return content;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), content_(parse_safetensors(file_.bytes(), path.string())) {}

std::vector<float> as_float32(const TensorView& tensor, const std::string& name) {
  switch (tensor.dtype) {
    case Dtype::f64:
      return converted<double>(tensor.bytes, [](double value) { return static_cast<float>(value); });
    case Dtype::f32:
      return converted<float>(tensor.bytes, [](float value) { return value; });
    case Dtype::f16: {
      std::vector<float> values(tensor.bytes.size() / sizeof(uint16_t));
      convert_halves(tensor.bytes.data(), values);
      return values;
    }
    case Dtype::bf16:
      return converted<uint16_t>(tensor.bytes, float_from_bfloat16);
    default:
      throw Error(Exit::bad_data, name + ": holds " + name_of(tensor.dtype) +
                                      " where real numbers belong; store it as F32, F16, BF16 or F64");
  }
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata, AtomicFile::Existing existing) {
  std::vector<const Item*> ordered;
  for (const Item& item : tensors) {
    if (item.first == "__metadata__") throw Error(Exit::internal, path.string() + ": a tensor may not be so named");
    if (byte_count(item.second.dtype, item.second.shape) != item.second.bytes.size()) {
      throw Error(Exit::internal, path.string() + ": tensor " + shown_name(item.first) + ": shape and bytes disagree");
    }
    ordered.push_back(&item);
  }
  // The map has them by name; among equal types that order stays.
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const Item* a, const Item* b) { return &row_of(a->second.dtype) < &row_of(b->second.dtype); });
  const std::string header = header_text(ordered, metadata);
  if (header.size() > kMaxHeaderBytes) throw Error(Exit::bad_data, path.string() + ": its header is too large");
  const uint64_t length = header.size();
  AtomicFile file(path, existing);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(header)));
  for (const Item* item : ordered) file.write(item->second.bytes);
  file.commit();
}

}  // namespace melflow::files
