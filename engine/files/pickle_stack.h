#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/files/pickle.h"

namespace melflow::files {

inline constexpr size_t kMaxPickleNodes = size_t{1} << 20;
inline constexpr size_t kMaxPickleGlobal = 256;  ///< letters of a class's name

[[noreturn]] inline void refuse_pickle(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": not a readable pickle: " + what + "; fetch or save the file again");
}

/// The bytes of a pickle, taken from the front; never past their end.
class PickleInput {
 public:
  PickleInput(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

  template <typename Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view take(uint64_t length) {
    if (length > left()) truncated();
    const std::string_view taken(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
    position_ += length;
    return taken;
  }
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_, left());
    const size_t end = rest.substr(0, kMaxPickleGlobal + 1).find('\n');
    if (end == std::string_view::npos) refuse_pickle(name_, "it names a class by an endless text");
    position_ += end + 1;
    return rest.substr(0, end);
  }
  [[noreturn]] void truncated() const {
    refuse_pickle(name_, "it ends in the middle, or a length in it is longer than the file");
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& name_;
  size_t position_ = 0;
};

/// What the instructions work on: the values made so far, the stack with its marks, and the memo.
class PickleStack {
 public:
  /// Made once, because pickles repeat them endlessly.
  enum : PickleId { kNone, kFalse, kTrue, kEmptyTuple };

  explicit PickleStack(const std::string& name) : name_(name) {
    for (const PickleKind kind : {PickleKind::none, PickleKind::boolean, PickleKind::boolean, PickleKind::tuple}) {
      out_.nodes.emplace_back().kind = kind;
    }
    out_.nodes[kTrue].integer = 1;
  }

  bool push(PickleId id) {
    stack_.push_back(id);
    return true;
  }
  PickleNode& make(PickleKind kind) {
    if (out_.nodes.size() >= kMaxPickleNodes) refuse_pickle(name_, "it holds more than 2^20 values");
    push(static_cast<PickleId>(out_.nodes.size()));
    PickleNode& made = out_.nodes.emplace_back();
    made.kind = kind;
    return made;
  }
  PickleNode& node(PickleId id) { return out_.nodes[id]; }

  PickleId top() {
    if (stack_.size() <= floor()) refuse_pickle(name_, "it takes from an empty stack");
    return stack_.back();
  }
  PickleId pop() {
    const PickleId id = top();
    stack_.pop_back();
    return id;
  }
  std::vector<PickleId> last(size_t count) {
    if (stack_.size() < floor() + count) refuse_pickle(name_, "it takes from an empty stack");
    std::vector<PickleId> items(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }
  std::vector<PickleId> since_mark() {
    if (marks_.empty()) refuse_pickle(name_, "it closes what was never opened");
    auto items = last(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  bool remember(uint32_t index) {
    if (memo_.size() >= kMaxPickleNodes) refuse_pickle(name_, "it remembers more than 2^20 values");
    memo_[index] = top();
    return true;
  }
  bool recall(uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) refuse_pickle(name_, "it recalls a value that it never stored");
    return push(found->second);
  }
  void mark() { marks_.push_back(stack_.size()); }
  /// As CPython: a mark on top is what goes.
  void discard_top() {
    if (!marks_.empty() && marks_.back() == stack_.size()) {
      marks_.pop_back();
    } else {
      pop();
    }
  }
  uint32_t memo_size() const { return static_cast<uint32_t>(memo_.size()); }

  /// The whole, at STOP: one value must be left.
  Pickle finish(size_t length) {
    if (stack_.size() != 1 || !marks_.empty()) refuse_pickle(name_, "it stops with its stack in disorder");
    out_.root = stack_.back();
    out_.length = length;
    return std::move(out_);
  }
  /// "module.symbol", kept with the result; a class that is named twice is one text.
  const std::string& name_global(std::string_view module, std::string_view symbol) {
    return *out_.globals.insert(std::string(module) + "." + std::string(symbol)).first;
  }

 private:
  /// Nothing below the last mark may be taken.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  const std::string& name_;
  Pickle out_;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleId> memo_;
};

}  // namespace melflow::files
