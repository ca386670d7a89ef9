#pragma once

#include <memory>
#include <vector>

#include "engine/gpu/portable.h"
#include "engine/gpu/tile_product.h"
#include "tests/gpu/emulated_memory.h"
#include "tests/gpu/emulated_products.h"

namespace melflow::gpu {

/// engine/gpu/cuda_block.h on a CPU. A kernel is a row of phases, each of which all of a block's threads (or warps) go
/// through; here one after another, forwards or backwards, since a right kernel cannot tell. What threads keep from
/// phase to phase is an array here, and a register there.
class EmulatedBlock {
 public:
  EmulatedBlock(EmulatedMemory& memory, SharedMemory& shared, int threads, int x, int y, bool backwards)
      : memory_(memory), shared_(shared), threads_(threads), x_(x), y_(y), backwards_(backwards) {}

  template <class T>
  class PerThread {
   public:
    T& operator[](int thread) { return values_.at(static_cast<size_t>(thread)); }

   private:
    std::vector<T> values_ = std::vector<T>(kMostThreads);
  };

  class Warp {
   public:
    Warp(SharedMemory& shared, int index, bool backwards) : shared_(shared), index_(index), backwards_(backwards) {}
    template <class T>
    struct Each {
      T values[32];
      T& operator[](int lane) { return values[lane]; }
    };

    int index() const { return index_; }
    int thread(int lane) const { return 32 * index_ + lane; }
    template <class F>
    void lanes(F&& f) const {
      for (int i = 0; i < 32; ++i) f(backwards_ ? 31 - i : i);
    }

    /// ldmatrix.x4: lane l names row l % 8 of matrix l / 8, 16 bytes; lane l gets numbers 2·(l % 4) and the next of row
    /// l / 4 of every matrix. The eight rows of a matrix must lie in different banks.
    template <class Address>
    void load_matrices(Each<Word4>& out, Address&& address) const {
      for (int matrix = 0; matrix < 4; ++matrix) {
        unsigned banks = 0;
        for (int row = 0; row < 8; ++row) {
          const uint32_t at = address(8 * matrix + row);
          banks |= 1u << (at / 16 % 8);
          const auto values = shared_.load<Word4>(thread(8 * matrix + row), at);
          for (int i = 0; i < 4; ++i) out[4 * row + i].v[matrix] = values.v[i];
        }
        if (banks != 0xff) fault("ldmatrix meets itself in a bank");
      }
    }

    /// mma.m16n8k16, exact products and float32 sums: c [16, 8] += a [16, 16] · b [16, 8], `half` of the two n8 tiles
    /// that b holds. Fragments as PTX lays them out.
    template <class SumsOf>
    void multiply_add(SumsOf&& sums_of, Each<Word4>& a, Each<Word4>& b, int half) const {
      if (adds_nothing(a, b, half)) return;
      float rows[16][16], columns[16][8];
      for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4, k = lane % 4 * 2;
        for (int i = 0; i < 4; ++i) {
          float* to = &rows[g + i % 2 * 8][k + i / 2 * 8];
          to[0] = low_bf16(a[lane].v[i]);
          to[1] = high_bf16(a[lane].v[i]);
        }
        for (int i = 0; i < 2; ++i) {
          columns[k + 8 * i][g] = low_bf16(b[lane].v[2 * half + i]);
          columns[k + 8 * i + 1][g] = high_bf16(b[lane].v[2 * half + i]);
        }
      }
      float sums[16][8] = {};
      for (int m = 0; m < 16; ++m) {
        for (int k = 0; k < 16; ++k) {
          for (int n = 0; n < 8; ++n) sums[m][n] += rows[m][k] * columns[k][n];
        }
      }
      for (int lane = 0; lane < 32; ++lane) {
        float* c = sums_of(lane);
        const float(&low)[8] = sums[lane / 4], (&high)[8] = sums[lane / 4 + 8];
        const int n = lane % 4 * 2;
        c[0] += low[n];
        c[1] += low[n + 1];
        c[2] += high[n];
        c[3] += high[n + 1];
      }
    }

   private:
    /// All of b is zero and all of a finite: padding, which is most of a small model.
    static bool adds_nothing(Each<Word4>& a, Each<Word4>& b, int half) {
      uint32_t any = 0;
      for (int lane = 0; lane < 32; ++lane) any |= b[lane].v[2 * half] | b[lane].v[2 * half + 1];
      if (any != 0) return false;
      const auto finite = [](uint32_t pair) {
        return (pair & 0x7f80u) != 0x7f80u && (pair >> 16 & 0x7f80u) != 0x7f80u;
      };
      for (int lane = 0; lane < 32; ++lane) {
        for (const uint32_t pair : a[lane].v) {
          if (!finite(pair)) return false;
        }
      }
      return true;
    }

    SharedMemory& shared_;
    int index_;
    bool backwards_;
  };

  /// Four warps that drive a tensor core (wgmma): what is asked for happens when its group is waited for, out of what
  /// shared memory then holds, and nothing may be changed until then.
  class Warpgroup {
   public:
    Warpgroup(SharedMemory& shared, EmulatedProducts& products, int index)
        : shared_(shared), products_(products), index_(index) {}
    int index() const { return index_; }
    static uint64_t matrix(uint32_t offset) { return swizzled_matrix(offset); }
    void begin() const { products_.begin(); }
    void commit() const { products_.commit(); }
    /// wgmma.m64n{8·n}k16: sums of thread t, [n][4], += a [64, 16] · b [8·n, 16]ᵀ.
    template <int n, class SumsOf>
    void multiply_add(SumsOf&& sums_of, uint64_t a, uint64_t b) const {
      std::vector<float*> sums;
      for (int t = 0; t < 128; ++t) sums.push_back(&sums_of(128 * index_ + t)[0][0]);
      products_.ask(shared_, std::move(sums), 8 * n, a, b);
    }

   private:
    SharedMemory& shared_;
    EmulatedProducts& products_;
    int index_;
  };

  int x() const { return x_; }
  int y() const { return y_; }
  void sync() { shared_.barrier(); }
  template <class F>
  void threads(F&& f) {
    for (int i = 0; i < threads_; ++i) f(backwards_ ? threads_ - 1 - i : i);
  }
  template <class F>
  void warps(F&& f) {
    const int count = threads_ / 32;
    for (int i = 0; i < count; ++i) f(Warp(shared_, backwards_ ? count - 1 - i : i, backwards_));
  }

  template <class F>
  void warpgroups(F&& f) {
    const int count = threads_ / 128;
    if (threads_ % 128 != 0) fault("a block of ", threads_, " threads has a warpgroup that is not whole");
    for (int i = 0; i < count; ++i) {
      const int group = backwards_ ? count - 1 - i : i;
      f(Warpgroup(shared_, products_[group], group));
    }
  }
  void publish() { shared_.publish(); }
  template <int n>
  void pin(float (&)[n][4]) const {}
  template <size_t left>
  void wait_products() {
    for (auto& products : products_) products.wait(shared_, left);
  }

  /// cp.async of 16 bytes or, where nothing is `there`, of zeros: `from` is then not read, but must be a pointer.
  void copy16(int thread, uint32_t to, const void* from, bool there) {
    if (from == nullptr || reinterpret_cast<uintptr_t>(from) % 16 != 0) fault("cp.async from ", from);
    if (there) memory_.check(from, 16);
    shared_.copy(thread, to, there ? from : nullptr);
  }
  void commit() { shared_.commit(); }
  template <int left>
  void wait() {
    shared_.wait(left);
  }

  template <class T>
  T load(int thread, uint32_t from) {
    return shared_.load<T>(thread, from);
  }
  template <class T>
  void store(int thread, uint32_t to, const T& value) {
    shared_.store(thread, to, value);
  }
  template <class T>
  T read(const T* from) {
    memory_.check(from, sizeof(T));
    return *from;
  }
  template <class T>
  void write(T* to, const T& value) {
    memory_.check(to, sizeof(T));
    *to = value;
  }

  void finish() const {
    shared_.finish();
    for (const auto& products : products_) products.finish();
  }

 private:
  static constexpr size_t kMostThreads = 256;
  EmulatedMemory& memory_;
  SharedMemory& shared_;  // begun
  EmulatedProducts products_[kMostThreads / 128];
  int threads_, x_, y_;
  bool backwards_;
};

}  // namespace melflow::gpu
