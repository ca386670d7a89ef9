#include "engine/files/safetensors_header.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

using nlohmann::json;
constexpr size_t kMaxTensors = 65536;
constexpr size_t kMaxRank = 64;
constexpr std::string_view kMetadataKey = "__metadata__";

std::optional<Dtype> dtype_from(const std::string& text) {
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16, Dtype::i64, Dtype::i32, Dtype::i16,
                            Dtype::i8, Dtype::u8, Dtype::boolean}) {
    if (name_of(dtype) == text) return dtype;
  }
  return std::nullopt;
}

/// {"__metadata__": {text: text…}, name: {"dtype": text, "shape": [number…], "data_offsets": [number, number]}…}
class HeaderHandler : public nlohmann::json_sax<json> {
 public:
  SafetensorsHeader header;
  std::string problem;  ///< what is wrong, once something is

  bool start_object(size_t) override {
    if (place_ == Place::outside) return go(Place::top);
    if (place_ != Place::top || !awaits_value_) return wrong("an object stands where none belongs");
    awaits_value_ = false;
    if (tensor_name_ == kMetadataKey) return go(Place::metadata);
    entry_ = {};
    has_dtype_ = has_shape_ = has_offsets_ = false;
    return go(Place::tensor);
  }

  bool key(std::string& text) override {
    if (place_ == Place::top) return top_key(text);
    if (place_ == Place::metadata) {
      if (header.metadata.contains(text)) return wrong("the metadata key " + shown_name(text) + " occurs twice");
      field_ = text;
    } else {
      bool* seen = text == "dtype" ? &has_dtype_ : text == "shape" ? &has_shape_ : &has_offsets_;
      if (seen == &has_offsets_ && text != "data_offsets") {
        return wrong("tensor " + shown_name(tensor_name_) + " has the unknown field " + shown_name(text));
      }
      if (*seen) return wrong("tensor " + shown_name(tensor_name_) + " has the field " + shown_name(text) + " twice");
      *seen = true;
      field_ = text;
    }
    awaits_value_ = true;
    return true;
  }

  bool string(std::string& text) override {
    if (place_ == Place::metadata) {
      header.metadata.emplace(field_, text);
      return true;
    }
    if (place_ != Place::tensor || field_ != "dtype") return wrong("text stands where none belongs");
    const std::optional<Dtype> dtype = dtype_from(text);
    if (!dtype)
      return wrong("tensor " + shown_name(tensor_name_) + " has the unknown element type " + shown_name(text));
    entry_.dtype = *dtype;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::tensor || field_ == "dtype") return wrong("a list stands where none belongs");
    offsets_seen_ = 0;
    return go(field_ == "shape" ? Place::shape : Place::offsets);
  }

  bool number_unsigned(uint64_t value) override {
    if (place_ == Place::shape) {
      if (entry_.shape.size() == kMaxRank)
        return wrong("tensor " + shown_name(tensor_name_) + " has over 64 dimensions");
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return wrong("tensor " + shown_name(tensor_name_) + " claims more elements than any file holds");
      }
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ != Place::offsets) return wrong("a number stands where none belongs");
    if (offsets_seen_ == 2) return wrong_offsets();
    (offsets_seen_++ == 0 ? entry_.begin : entry_.end) = value;
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets && offsets_seen_ != 2) return wrong_offsets();
    return go(Place::tensor);
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      if (!has_dtype_ || !has_shape_ || !has_offsets_) {
        return wrong("tensor " + shown_name(tensor_name_) + " lacks dtype, shape or data_offsets");
      }
      header.tensors.emplace(tensor_name_, std::move(entry_));
    }
    return go(place_ == Place::top ? Place::outside : Place::top);
  }

  bool null() override { return wrong("null stands where none belongs"); }
  bool boolean(bool) override { return wrong("true or false stands where none belongs"); }
  bool number_integer(int64_t) override { return wrong("a negative number stands where none belongs"); }
  bool number_float(double, const std::string&) override { return wrong("a number is fractional or too large"); }
  bool binary(json::binary_t&) override { return wrong("binary data stands where none belongs"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return wrong("its header is not JSON (at byte " + std::to_string(position) + ")");
  }

 private:
  enum class Place { outside, top, metadata, tensor, shape, offsets };

  bool top_key(const std::string& text) {
    if (text == kMetadataKey ? has_metadata_ : header.tensors.contains(text)) {
      return wrong("the name " + shown_name(text) + " occurs twice");
    }
    if (text == kMetadataKey) has_metadata_ = true;
    if (header.tensors.size() == kMaxTensors) return wrong("it holds more than 65536 tensors");
    tensor_name_ = text;
    awaits_value_ = true;
    return true;
  }
  bool go(Place place) {
    place_ = place;
    return true;
  }
  bool wrong(const std::string& what) {
    if (problem.empty()) problem = what;
    return false;
  }
  bool wrong_offsets() { return wrong("tensor " + shown_name(tensor_name_) + " does not have two data_offsets"); }

  Place place_ = Place::outside;
  bool awaits_value_ = false, has_metadata_ = false;
  std::string tensor_name_, field_;
  TensorEntry entry_;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
  int offsets_seen_ = 0;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& name) {
  HeaderHandler handler;
  // The JSON library takes a zero byte for the end of its input; the format's reference reader refuses it.
  if (text.find('\0') != std::string_view::npos) {
    handler.problem = "its header holds a zero byte";
  } else {
    json::sax_parse(text.begin(), text.end(), &handler);
  }
  if (!handler.problem.empty()) {
    throw Error(Exit::bad_data, name + ": not a valid safetensors file: " + handler.problem +
                                    "; fetch the file again or convert it anew");
  }
  return std::move(handler.header);
}

}  // namespace melflow::files
