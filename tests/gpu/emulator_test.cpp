// What the emulator is there for: kernels with one thing wrong, each of which a GPU would often forgive.

#include <functional>

#include "tests/gpu/emulated_block.h"
#include "tests/gpu/gpu_test.h"

namespace melflow::gpu {
namespace {

class Emulator : public ::testing::Test {
 protected:
  /// What the kernel is told off for; empty where nothing is.
  std::string fault_of(const std::function<void(EmulatedBlock&)>& kernel) {
    shared_.begin(4096);
    EmulatedBlock block(memory_, shared_, 64, 0, 0, false);
    try {
      kernel(block);
      block.finish();
    } catch (const KernelFault& found) {
      return found.what();
    }
    return "";
  }
  static void store_all(EmulatedBlock& block) {
    block.threads([&](int t) { block.store(t, static_cast<uint32_t>(4 * t), static_cast<float>(t)); });
  }
  EmulatedMemory memory_;
  SharedMemory shared_;
};

TEST_F(Emulator, ReadingANeighboursWordNeedsABarrier) {
  const auto read_neighbour = [](EmulatedBlock& block) {
    block.threads([&](int t) { block.load<float>(t, static_cast<uint32_t>(4 * ((t + 1) % 64))); });
  };
  EXPECT_NE(fault_of([&](auto& block) {
              store_all(block);
              read_neighbour(block);
            }).find("no barrier"),
            std::string::npos);
  EXPECT_EQ(fault_of([&](auto& block) {
              store_all(block);
              block.sync();
              read_neighbour(block);
            }),
            "");
}

TEST_F(Emulator, OverwritingWhatOthersReadNeedsABarrier) {
  EXPECT_NE(fault_of([&](auto& block) {
              store_all(block);
              block.sync();
              block.threads([&](int t) { block.template load<float>(t, static_cast<uint32_t>(4 * ((t + 1) % 64))); });
              store_all(block);
            }).find("no barrier"),
            std::string::npos);
}

TEST_F(Emulator, CopiesArriveWhenTheyAreWaitedForAndForOthersBehindABarrier) {
  auto* from = static_cast<float*>(memory_.allocate(64 * 16));
  from[4] = 5;
  float seen = 0;
  const auto kernel = [&](bool wait, bool sync) {
    return fault_of([&, wait, sync](EmulatedBlock& block) {
      block.threads([&](int t) { block.copy16(t, static_cast<uint32_t>(16 * t), from + 4 * t, t != 2); });
      block.commit();
      if (wait) block.wait<0>();
      if (sync) block.sync();
      block.threads([&](int t) {
        const float got = block.load<float>(t, 16);
        if (t == 0) seen = got + block.load<float>(t, 32);
      });
    });
  };
  EXPECT_NE(kernel(false, true).find("in flight"), std::string::npos);
  EXPECT_NE(kernel(true, false).find("no barrier"), std::string::npos);
  EXPECT_EQ(kernel(true, true), "");
  EXPECT_EQ(seen, 5);  // what was there, and zeros where nothing was
}

TEST_F(Emulator, EveryAccessIsInsideAndAligned) {
  auto* memory = static_cast<float*>(memory_.allocate(100 * sizeof(float)));
  const auto reads = [&](auto read) { return fault_of([&](EmulatedBlock& block) { read(block); }); };
  EXPECT_EQ(reads([&](auto& block) { block.read(memory + 99); }), "");
  EXPECT_NE(reads([&](auto& block) { block.read(memory + 100); }), "");
  EXPECT_NE(reads([&](auto& block) { block.read(memory - 1); }), "");
  EXPECT_NE(reads([&](auto& block) { block.read(reinterpret_cast<Float4*>(memory + 2)); }), "");
  EXPECT_NE(reads([&](auto& block) { block.copy16(0, 0, memory + 97, true); }), "");
  EXPECT_NE(reads([&](auto& block) { block.template load<float>(0, 64); }), "");  // nobody wrote it
  EXPECT_NE(reads([&](auto& block) { block.store(0, 4096, 1.0f); }), "");
}

TEST_F(Emulator, MatricesWhoseRowsMeetInABankAreToldOff) {
  const auto load = [&](uint32_t row_bytes) {
    return fault_of([&](EmulatedBlock& block) {
      block.threads([&](int t) {
        for (uint32_t i = 0; i < 4; ++i) block.store(t, static_cast<uint32_t>(64 * t) + 16 * i, Word4{});
      });
      block.sync();
      block.warps([&](auto warp) {
        typename decltype(warp)::template Each<Word4> out;
        warp.load_matrices(out, [&](int lane) { return static_cast<uint32_t>(lane) * row_bytes; });
      });
    });
  };
  EXPECT_EQ(load(16), "");
  EXPECT_EQ(load(80), "");
  EXPECT_NE(load(128), "");
}

/// The fragments are those of PTX's tables: a product of two matrices that are read with ldmatrix is their product.
TEST_F(Emulator, MultipliesMatricesThatLdmatrixRead) {
  float sums[32][4] = {};
  const auto number = [](int i) { return static_cast<float>(i * 37 % 29 - 14); };
  EXPECT_EQ(fault_of([&](EmulatedBlock& block) {
              block.threads([&](int t) {
                if (t >= 32) return;
                for (int c = 0; c < 2; ++c) {  // rows 0…15: a [16, 16]; rows 16…31: two tiles of b, by columns
                  Word4 v;
                  for (int i = 0; i < 4; ++i) {
                    v.v[i] = pack_bf16(number(16 * t + 8 * c + 2 * i), number(16 * t + 8 * c + 2 * i + 1));
                  }
                  block.store(t, static_cast<uint32_t>(48 * t + 16 * c), v);
                }
              });
              block.sync();
              block.warps([&](auto warp) {
                if (warp.index() != 0) return;
                typename decltype(warp)::template Each<Word4> a, b;
                warp.load_matrices(a,
                                   [](int lane) { return static_cast<uint32_t>(48 * (lane % 16) + 16 * (lane / 16)); });
                warp.load_matrices(b, [](int lane) {
                  return static_cast<uint32_t>(48 * (16 + lane / 16 * 8 + lane % 8) + 16 * (lane / 8 % 2));
                });
                warp.multiply_add([&](int lane) { return sums[lane]; }, a, b, 1);
              });
            }),
            "");
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int m = lane / 4 + i / 2 * 8, n = 8 + lane % 4 * 2 + i % 2;
      float expected = 0;
      for (int k = 0; k < 16; ++k) expected += number(16 * m + k) * number(16 * (16 + n) + k);
      EXPECT_EQ(sums[lane][i], expected) << m << ", " << n;
    }
  }
}

/// Matrices of 64 and of 8 rows behind them, of which a tensor core multiplies the first 16 numbers of each.
class TensorCoreOfAWarpgroup : public Emulator {
 protected:
  static float number(int i) { return static_cast<float>(i * 37 % 29 - 14); }
  static constexpr uint32_t kB = 64 * 128, kBytes = 72 * 128;

  struct Steps {
    bool publish = true, sync = true, begin = true, commit = true, wait = true, overwrite = false;
  };
  std::string fault_of_product(const Steps& steps) {
    shared_.begin(kBytes);
    EmulatedBlock block(memory_, shared_, 128, 0, 0, false);
    try {
      block.threads([&](int t) {
        for (int c = 0; t < 72 && c < 8; ++c) {
          Word4 v;
          for (int i = 0; i < 4; ++i) {
            v.v[i] = pack_bf16(number(64 * t + 8 * c + 2 * i), number(64 * t + 8 * c + 2 * i + 1));
          }
          block.store(t, static_cast<uint32_t>(128 * t + 16 * (c ^ (t & 7))), v);
        }
      });
      if (steps.publish) block.publish();
      if (steps.sync) block.sync();
      block.warpgroups([&](auto group) {
        if (steps.begin) group.begin();
        // The second sixteen of each row.
        group.template multiply_add<1>(
            [&](int t) -> auto& { return sums_[t]; }, group.matrix(32), group.matrix(kB + 32));
        if (steps.commit) group.commit();
      });
      if (steps.overwrite) block.threads([&](int t) { block.store(t, static_cast<uint32_t>(4 * t), 1.0f); });
      if (steps.wait) block.wait_products<0>();
      block.finish();
    } catch (const KernelFault& found) {
      return found.what();
    }
    return "";
  }
  float sums_[128][1][4] = {};
};

TEST_F(TensorCoreOfAWarpgroup, MultipliesWhatTheDescriptorsName) {
  EXPECT_EQ(fault_of_product({}), "");
  for (int t = 0; t < 128; ++t) {
    for (int i = 0; i < 4; ++i) {
      const int m = t / 32 * 16 + t % 32 / 4 + i / 2 * 8, n = t % 4 * 2 + i % 2;
      float expected = 0;
      for (int k = 16; k < 32; ++k) expected += number(64 * m + k) * number(64 * (64 + n) + k);
      EXPECT_EQ(sums_[t][0][i], expected) << m << ", " << n;
    }
  }
}

TEST_F(TensorCoreOfAWarpgroup, SeesOnlyWhatWasPublishedBeforeABarrier) {
  EXPECT_NE(fault_of_product({.publish = false}).find("not published"), std::string::npos);
  EXPECT_NE(fault_of_product({.sync = false}).find("no barrier"), std::string::npos);
}

TEST_F(TensorCoreOfAWarpgroup, IsWaitedForAndNotWrittenUnder) {
  EXPECT_NE(fault_of_product({.overwrite = true}).find("may still read"), std::string::npos);
  EXPECT_NE(fault_of_product({.begin = false}).find("no fence"), std::string::npos);
  EXPECT_NE(fault_of_product({.wait = false}).find("nobody waited"), std::string::npos);
  EXPECT_NE(fault_of_product({.commit = false}).find("nobody waited"), std::string::npos);
}

}  // namespace
}  // namespace melflow::gpu
