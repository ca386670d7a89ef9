#pragma once

#include <cstdint>
#include <string>

#include <torch/types.h>

#include "engine/flow/toys.h"
#include "models/flow/flow.h"

namespace melflow::engine {

/// Where items come from: a file (.npy, .csv, idx; each also as .gz), or one of toys() or energies() by name.
struct FlowDataOptions {
  std::string path = {};
  std::string labels = {};        ///< a file with a whole number an item; for class-conditional flows
  std::string label_column = {};  ///< "first" or "last": the table's own column that is a label; "": none
  std::string context = {};       ///< a file with a row of numbers an item, of which its density depends
  int64_t context_columns = 0;    ///< that many first columns of the table are such numbers
  std::string validation = {};    ///< a file of such items for validation alone; "": some of the others are kept out
  int64_t height = 0, width = 0;  ///< rows of height·width numbers are images; files of images say so themselves
};

template <typename Visit>
void fields(FlowDataOptions& o, Visit&& visit) {
  visit("path", o.path);
  visit("labels", o.labels);
  visit("label_column", o.label_column);
  visit("context", o.context);
  visit("context_columns", o.context_columns);
  visit("validation", o.validation);
  visit("height", o.height);
  visit("width", o.width);
}

/// Data of a flow: items with their labels, or a distribution that can be drawn from or is known up to a constant.
struct FlowData {
  std::string name;
  torch::Tensor x = {};           ///< [items, channels] or [items, channels, height, width] float32; undefined for toys
  torch::Tensor labels = {};      ///< [items] int64, or undefined
  std::string labels_name = {};   ///< the file that they are from
  torch::Tensor context = {};     ///< [items, numbers] float32 that each depends on, or undefined
  std::string context_name = {};  ///< the file that it is from
  int64_t context_column = 1;     ///< of that file, of its first number
  int64_t validation_items = 0;   ///< the last of x are that many from the file for validation
  std::string validation_name = {};  ///< that file
  int64_t first_column =
      1;  ///< of the file, of a table's rows: 2 where the first is a label; behind those of a context
  const Toy* toy = nullptr;
  const Energy* energy = nullptr;

  int64_t own_items() const { return x.size(0) - validation_items; }  ///< of x, those before the validation's
  models::FlowShape shape() const;                                    ///< without a context
  int64_t classes() const;                                            ///< 1 + the largest label; 0 without labels
};

/// A file's rows of numbers, which items are to depend on: [rows, numbers] float32. Throws Error{no_input, bad_data}.
torch::Tensor read_context(const std::string& path);

/// Throws Error{no_input} where the path is neither a file nor a name (with the nearest name), Error{bad_data} for what
/// cannot be read as numbers, or as labels.
FlowData load_flow_data(const FlowDataOptions& options);

/// What there is to say of a table's columns, or of its context's, whose density says nothing, or little: those that
/// are the same in every row, and those whose spread single precision rounds to few steps, as a time of day in seconds
/// since 1970. A line for either.
std::vector<std::string> doubtful_columns(const FlowData& data);

/// Some items, as FlowData has them.
struct FlowBatch {
  torch::Tensor x;             ///< [n, channels] or [n, channels, height, width] float32
  torch::Tensor labels;        ///< [n] int64; undefined where the data have none, as toys never do
  torch::Tensor context = {};  ///< [n, numbers] float32; undefined likewise
};
/// The items at `indices` [n] int64, each from 0 to data.x.size(0) - 1.
FlowBatch take(const FlowData& data, const torch::Tensor& indices);
/// `count` fresh items of data.toy, which must be there: a pure function of `seed`.
FlowBatch draw(const FlowData& data, int64_t count, uint64_t seed);

/// Throws Error{bad_data} for a label that is none of `classes`; there must be a label.
void require_classes(const torch::Tensor& labels, int64_t classes, const std::string& name);
/// One-hot [items, classes] of labels. Throws Error{bad_data} for a label that is not among them.
torch::Tensor one_hot(const torch::Tensor& labels, int64_t classes, const std::string& name);

/// Throws Error{bad_data} for a pixel that is no whole number from 0 to levels - 1.
void require_pixels(const torch::Tensor& pixels, int64_t levels, const std::string& name);
/// Uniform noise in [0, 1) on whole-number pixels, a pure function of the seed. Throws as require_pixels().
torch::Tensor dequantise(const torch::Tensor& pixels, int64_t levels, uint64_t seed, const std::string& name);

}  // namespace melflow::engine
