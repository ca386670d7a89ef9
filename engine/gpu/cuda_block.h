#pragma once

#include "engine/gpu/cuda_wgmma.h"
#include "engine/gpu/portable.h"
#include "engine/gpu/tile_product.h"

namespace melflow::gpu {

extern __shared__ __align__(1024) unsigned char cuda_shared[];

/// The block that a kernel is written for, on a GPU. tests/gpu/emulated_block.h is the same on a CPU, and says what
/// each part promises: it checks it.
class CudaBlock {
 public:
  /// A variable of which each thread has its own, in registers.
  template <class T>
  struct PerThread {
    T value;
    __device__ __forceinline__ T& operator[](int) { return value; }
  };

  class Warp {
   public:
    template <class T>
    using Each = PerThread<T>;

    __device__ __forceinline__ int index() const { return static_cast<int>(threadIdx.x) / 32; }
    __device__ __forceinline__ int thread(int) const { return static_cast<int>(threadIdx.x); }
    template <class F>
    __device__ __forceinline__ void lanes(F&& f) const {
      f(static_cast<int>(threadIdx.x) % 32);
    }

    template <class Address>
    __device__ __forceinline__ void load_matrices(Each<Word4>& out, Address&& address) const {
      uint32_t(&v)[4] = out.value.v;
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                   : "r"(shared_address(address(static_cast<int>(threadIdx.x) % 32)))
                   : "memory");
    }

    template <class SumsOf>
    __device__ __forceinline__ void multiply_add(SumsOf&& sums_of, Each<Word4>& a, Each<Word4>& b, int half) const {
      float* c = sums_of(static_cast<int>(threadIdx.x) % 32);
      const uint32_t(&x)[4] = a.value.v;
      const uint32_t(&y)[4] = b.value.v;
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(half == 0 ? y[0] : y[2]), "r"(half == 0 ? y[1] : y[3]));
    }
  };

  /// Four warps that drive a tensor core together. Where the instructions are not known the kernels that use them are
  /// compiled, for the choice is made at run time, and never started.
  class Warpgroup {
   public:
    __device__ __forceinline__ int index() const { return static_cast<int>(threadIdx.x) / 128; }
    __device__ __forceinline__ uint64_t matrix(uint32_t offset) const {
      return swizzled_matrix(shared_address(offset));
    }
#ifdef MELFLOW_HAS_WGMMA
    __device__ __forceinline__ void begin() const { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
    template <int n, class SumsOf>
    __device__ __forceinline__ void multiply_add(SumsOf&& sums_of, uint64_t a, uint64_t b) const {
      Wgmma<n>::add(sums_of(static_cast<int>(threadIdx.x)), a, b);
    }
    __device__ __forceinline__ void commit() const { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
#else
    __device__ __forceinline__ void begin() const { __trap(); }
    template <int n, class SumsOf>
    __device__ __forceinline__ void multiply_add(SumsOf&&, uint64_t, uint64_t) const {}
    __device__ __forceinline__ void commit() const {}
#endif
  };

  __device__ __forceinline__ int x() const { return static_cast<int>(blockIdx.x); }
  __device__ __forceinline__ int y() const { return static_cast<int>(blockIdx.y); }
  __device__ __forceinline__ void sync() const { __syncthreads(); }
  template <class F>
  __device__ __forceinline__ void threads(F&& f) const {
    f(static_cast<int>(threadIdx.x));
  }
  template <class F>
  __device__ __forceinline__ void warps(F&& f) const {
    f(Warp{});
  }

  template <class F>
  __device__ __forceinline__ void warpgroups(F&& f) const {
    f(Warpgroup{});
  }

  __device__ __forceinline__ void copy16(int, uint32_t to, const void* from, bool there) const {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
  }
  __device__ __forceinline__ void commit() const { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int left>
  __device__ __forceinline__ void wait() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
  }

#ifdef MELFLOW_HAS_WGMMA
  __device__ __forceinline__ void publish() const { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
  template <int left>
  __device__ __forceinline__ void wait_products() const {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory");
  }
  /// Ties sums to this place: the compiler sees no store to registers that a tensor core writes by itself.
  template <int n>
  __device__ __forceinline__ void pin(float (&sums)[n][4]) const {
    MELFLOW_UNROLL
    for (int i = 0; i < n; ++i) {
      asm volatile("" : "+f"(sums[i][0]), "+f"(sums[i][1]), "+f"(sums[i][2]), "+f"(sums[i][3])::"memory");
    }
  }
#else
  template <int n>
  __device__ __forceinline__ void pin(float (&)[n][4]) const {}
  __device__ __forceinline__ void publish() const {}
  template <int left>
  __device__ __forceinline__ void wait_products() const {}
#endif

  template <class T>
  __device__ __forceinline__ T load(int, uint32_t from) const {
    return *reinterpret_cast<const T*>(cuda_shared + from);
  }
  template <class T>
  __device__ __forceinline__ void store(int, uint32_t to, const T& value) const {
    *reinterpret_cast<T*>(cuda_shared + to) = value;
  }
  template <class T>
  __device__ __forceinline__ T read(const T* from) const {
    return *from;
  }
  template <class T>
  __device__ __forceinline__ void write(T* to, const T& value) const {
    *to = value;
  }

 private:
  static __device__ __forceinline__ uint32_t shared_address(uint32_t offset) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(cuda_shared)) + offset;
  }
};

}  // namespace melflow::gpu
