#include "engine/files/strided_tensor.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace melflow::files {
namespace {

std::vector<int64_t> c_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * std::max<int64_t>(shape[axis], 1);
  return strides;
}

size_t count_of(const StridedTensor& tensor) {
  size_t count = 1;
  for (const int64_t extent : tensor.shape) count *= static_cast<size_t>(extent);
  return count;
}

bool is_c_order(const StridedTensor& tensor) {
  const auto wanted = c_strides(tensor.shape);
  for (size_t axis = 0; axis < wanted.size(); ++axis) {
    if (tensor.shape[axis] > 1 && tensor.strides[axis] != wanted[axis]) return false;
  }
  return true;
}

}  // namespace

StridedTensor strided(const TensorView& view) { return {view.dtype, view.shape, c_strides(view.shape), 0, view.bytes}; }

void check_inside(const StridedTensor& tensor, const std::string& what) {
  const auto refuse = [&](const std::string& why) { throw Error(Exit::bad_data, what + " " + why); };
  constexpr size_t kMaxRank = 64;  // PyTorch's own
  if (tensor.shape.size() != tensor.strides.size() || tensor.shape.size() > kMaxRank) {
    refuse("has a shape and strides that do not agree");
  }
  const uint64_t available = tensor.storage.size() / size_of(tensor.dtype);
  uint64_t count = 1, last = tensor.offset;
  bool overflow = false, empty = false;
  for (size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    const int64_t extent = tensor.shape[axis], stride = tensor.strides[axis];
    if (extent < 0 || stride < 0) refuse("has a negative size or stride");
    empty = empty || extent == 0;
    uint64_t step = 0;
    overflow = overflow || __builtin_mul_overflow(count, static_cast<uint64_t>(extent), &count);
    if (extent == 0) continue;
    overflow =
        overflow || __builtin_mul_overflow(static_cast<uint64_t>(extent - 1), static_cast<uint64_t>(stride), &step);
    overflow = overflow || __builtin_add_overflow(last, step, &last);
  }
  if (empty) {
    if (tensor.offset > available) refuse("begins outside its storage");
    return;
  }
  if (overflow || last >= available) refuse("reaches outside its storage of " + std::to_string(available) + " numbers");
  if (count > available) refuse("claims more numbers than its storage has; save tensor.contiguous()");
}

TensorView in_c_order(const StridedTensor& tensor, Arrays& made) {
  const size_t width = size_of(tensor.dtype), count = count_of(tensor);
  const bool swap = tensor.swapped && width > 1;
  if (!swap && is_c_order(tensor)) {
    return {tensor.dtype, tensor.shape, tensor.storage.subspan(count == 0 ? 0 : tensor.offset * width, count * width)};
  }
  auto& out = made.emplace_back(count * width);
  std::vector<int64_t> index(tensor.shape.size(), 0);
  const std::byte* source = tensor.storage.data() + tensor.offset * width;
  for (size_t i = 0; i < count; ++i) {
    std::byte* target = out.data() + i * width;
    std::memcpy(target, source, width);
    if (swap) std::reverse(target, target + width);
    for (size_t axis = index.size(); axis-- > 0;) {  // the next element in C order
      const auto step = tensor.strides[axis] * static_cast<int64_t>(width);
      if (++index[axis] < tensor.shape[axis]) {
        source += step;
        break;
      }
      source -= step * (index[axis] - 1);
      index[axis] = 0;
    }
  }
  return {tensor.dtype, tensor.shape, out};
}

}  // namespace melflow::files
