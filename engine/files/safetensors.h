#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "engine/files/mapped_file.h"

namespace melflow::files {

/// Element types of the format that we read and write, with the format's own names (F64, F32, F16, BF16, I64 …).
enum class Dtype { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };
size_t size_of(Dtype dtype);
std::string name_of(Dtype dtype);

struct TensorView {
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  ///< little-endian, C order
};

/// How many numbers tensors hold together.
int64_t number_count(const std::map<std::string, TensorView>& tensors);

/// The format's strictness: header ≤ 100,000,000 bytes and beginning with '{'; no duplicate keys; shape × dtype equals
/// the byte range, without overflow; ranges inside the file, without overlap or hole; metadata maps text to text.
struct SafetensorsContent {
  std::map<std::string, std::string> metadata;
  std::map<std::string, TensorView> tensors;  ///< views into the bytes that were parsed
};

/// Throws Error{bad_data}: "`name`: what is wrong". A pure function of the bytes.
SafetensorsContent parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

/// A file, mapped read-only for as long as this lives.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::map<std::string, std::string>& metadata() const { return content_.metadata; }
  const std::map<std::string, TensorView>& tensors() const { return content_.tensors; }

 private:
  MappedFile file_;
  SafetensorsContent content_;
};

/// Any tensor as float32. Throws Error{bad_data} for integers that have no float meaning here.
std::vector<float> as_float32(const TensorView& tensor, const std::string& name);

/// Written atomically, aligned as the reference implementation writes it (readable by every other reader).
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata, AtomicFile::Existing existing);

}  // namespace melflow::files
