#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "engine/gpu/portable.h"

namespace melflow::gpu {

/// A kernel did what a GPU would punish or, worse, would not.
class KernelFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <typename... Parts>
[[noreturn]] void fault(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  throw KernelFault(out.str());
}

/// A device's memory: every access is checked against what was allocated, and for its alignment.
class EmulatedMemory {
 public:
  void* allocate(size_t bytes) {
    auto memory = std::make_unique<std::byte[]>(bytes + kAlign);
    auto* begin = memory.get() + (kAlign - reinterpret_cast<uintptr_t>(memory.get()) % kAlign);
    std::memset(begin, 0xff, bytes);  // NaN: what is read before it was written is heard
    blocks_[begin] = {bytes, std::move(memory)};
    return begin;
  }
  void release(void* memory) {
    last_ = {};
    blocks_.erase(static_cast<std::byte*>(memory));
  }
  bool empty() const { return blocks_.empty(); }

  void check(const void* at, size_t bytes) {
    const auto* p = static_cast<const std::byte*>(at);
    if (reinterpret_cast<uintptr_t>(p) % bytes != 0) fault("an access of ", bytes, " bytes at ", at, " is not aligned");
    if (p >= last_.begin && p + bytes <= last_.end) return;
    auto after = blocks_.upper_bound(const_cast<std::byte*>(p));
    if (after != blocks_.begin()) {
      const auto& [begin, block] = *--after;
      if (p + bytes <= begin + block.bytes) {
        last_ = {begin, begin + block.bytes};
        return;
      }
    }
    fault("an access of ", bytes, " bytes at ", at, " is outside of what was allocated");
  }

 private:
  static constexpr size_t kAlign = 256;
  struct Block {
    size_t bytes = 0;
    std::unique_ptr<std::byte[]> memory;
  };
  std::map<std::byte*, Block> blocks_;
  struct {
    const std::byte *begin = nullptr, *end = nullptr;
  } last_;
};

/// A block's shared memory. Between two barriers no word may be written by one thread and touched by another; no word
/// may be read before it was written, nor touched while an asynchronous copy to it is in flight, nor written while
/// tensor cores may still read it. These see only what was published before a barrier.
class SharedMemory {
 public:
  static constexpr size_t kMostBytes = 227 * 1024;  ///< of a block, on an H100

  /// A block begins, with so many bytes, of which nothing is known.
  void begin(size_t bytes) {
    if (bytes > kMostBytes) fault("a block wants ", bytes, " bytes of shared memory");
    bytes_ = bytes;
    first_epoch_ = ++epoch_;
    publishing_ = published_ = ++moment_;
    open_.clear();
    groups_.clear();
  }
  void barrier() {
    ++epoch_;
    published_ = publishing_;
  }
  /// All threads: what is written so far will be seen by tensor cores, behind the next barrier (fence.proxy.async).
  void publish() { publishing_ = ++moment_; }

  template <typename T>
  T load(int thread, uint32_t from) {
    check(from, sizeof(T));
    for (uint32_t w = from / 4; w < (from + sizeof(T)) / 4; ++w) read_word(thread, w);
    T out;
    std::memcpy(&out, values_.data() + from, sizeof(T));
    return out;
  }
  template <typename T>
  void store(int thread, uint32_t to, const T& value) {
    check(to, sizeof(T));
    for (uint32_t w = to / 4; w < (to + sizeof(T)) / 4; ++w) write_word(thread, w);
    std::memcpy(values_.data() + to, &value, sizeof(T));
  }

  /// 16 bytes, or zeros, that arrive when their group is waited for.
  void copy(int thread, uint32_t to, const void* from) {
    check(to, 16);
    for (uint32_t w = to / 4; w < to / 4 + 4; ++w) {
      write_word(thread, w);
      words_[w].in_flight = true;
    }
    Copy copy{thread, to, {}};
    if (from != nullptr) std::memcpy(copy.bytes, from, 16);
    open_.push_back(copy);
  }
  void commit() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  void wait(size_t left) {
    while (groups_.size() > left) {
      for (const auto& copy : groups_.front()) {
        for (uint32_t w = copy.to / 4; w < copy.to / 4 + 4; ++w) {
          words_[w].in_flight = false;
          write_word(copy.thread, w);
        }
        std::memcpy(values_.data() + copy.to, copy.bytes, 16);
      }
      groups_.erase(groups_.begin());
    }
  }
  /// Sixteen bytes that a tensor core reads at some time between the two calls.
  void begin_read_behind(uint32_t from) {
    check(from, 16);
    for (uint32_t w = from / 4; w < from / 4 + 4; ++w) {
      read_word(kTensorCore, w);
      if (words_[w].moment > published_) fault("byte ", 4 * w, " was not published and behind a barrier");
      ++words_[w].reads_behind;
    }
  }
  Word4 end_read_behind(uint32_t from) {
    for (uint32_t w = from / 4; w < from / 4 + 4; ++w) {
      --words_[w].reads_behind;
      read_word(kTensorCore, w);  // to the others it was read just now
    }
    Word4 out;
    std::memcpy(&out, values_.data() + from, sizeof out);
    return out;
  }

  /// What must be true at a block's end.
  void finish() const {
    if (!open_.empty()) fault("a block ends with copies that belong to no group");
    for (const auto& group : groups_) {
      if (!group.empty()) fault("a block ends with copies in flight");
    }
  }

 private:
  struct Word {
    uint32_t written = 0, read = 0;  // epochs; 0: never
    int16_t writer = -1, reader = -1;
    bool in_flight = false;
    uint16_t reads_behind = 0;  // by tensor cores, asked for and not waited for
    uint64_t moment = 0;        // when it was written
  };
  struct Copy {
    int thread;
    uint32_t to;
    std::byte bytes[16];
  };
  static constexpr int16_t kMany = -2, kTensorCore = -3;

  void check(uint32_t at, size_t bytes) const {
    if (at % bytes != 0) fault("a shared access of ", bytes, " bytes at ", at, " is not aligned");
    if (at + bytes > bytes_) fault("a shared access at ", at, " of ", bytes_, " bytes");
  }
  /// Forgets what earlier blocks did to it.
  Word& fresh(uint32_t at) {
    auto& word = words_[at];
    if (word.written < first_epoch_ && word.read < first_epoch_) word = {};
    return word;
  }
  void read_word(int thread, uint32_t at) {
    auto& word = fresh(at);
    if (word.in_flight) fault("thread ", thread, " reads byte ", 4 * at, ", to which a copy is in flight");
    if (word.written == 0) fault("thread ", thread, " reads byte ", 4 * at, ", which nobody wrote");
    if (word.written == epoch_ && word.writer != thread) {
      fault("thread ", thread, " reads byte ", 4 * at, ", written by thread ", word.writer,
            ", with no barrier between");
    }
    word.reader = word.read == epoch_ && word.reader != thread ? kMany : static_cast<int16_t>(thread);
    word.read = epoch_;
  }
  void write_word(int thread, uint32_t at) {
    auto& word = fresh(at);
    if (word.in_flight) fault("thread ", thread, " writes byte ", 4 * at, ", to which a copy is in flight");
    if (word.reads_behind > 0)
      fault("thread ", thread, " writes byte ", 4 * at, ", which a tensor core may still read");
    if (word.written == epoch_ && word.writer != thread) {
      fault("threads ", thread, " and ", word.writer, " write byte ", 4 * at, " with no barrier between");
    }
    if (word.read == epoch_ && word.reader != thread) {
      fault("thread ", thread, " writes byte ", 4 * at, ", which another read with no barrier between");
    }
    word.written = epoch_;
    word.moment = ++moment_;
    word.writer = static_cast<int16_t>(thread);
  }

  uint32_t epoch_ = 0, first_epoch_ = 0;
  uint64_t moment_ = 0, publishing_ = 0, published_ = 0;
  size_t bytes_ = 0;
  std::vector<std::byte> values_ = std::vector<std::byte>(kMostBytes);
  std::vector<Word> words_ = std::vector<Word>(kMostBytes / 4);
  std::vector<Copy> open_;
  std::vector<std::vector<Copy>> groups_;
};

}  // namespace melflow::gpu
