#include <ATen/Parallel.h>

#include <algorithm>

#include "cpu/words.h"
#include "models/nets/row_products.h"

namespace melflow::models {
namespace {

using cpu::Precision;

constexpr int64_t kDepth = 512;  // rows of a that are turned at a time
constexpr int64_t kShare = 128;  // columns of a, at most, that a thread takes at a time

constexpr int64_t rounded_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

}  // namespace

/// Rows of b, item by item with zeros around it, as the words of panels. Where several numbers make a word, a word may
/// begin with any of them: once for each phase that an offset asks for.
class CorrelatedWords {
 public:
  CorrelatedWords(Precision precision, const Correlated& of, int64_t items, int64_t rows)
      : precision_(precision),
        of_(of),
        rows_(rows),
        in_word_(cpu::numbers_in_word(precision)),
        width_(cpu::tile_kernels().width) {
    const auto last = of.first + (of.offsets - 1) * of.apart;
    halo_ = rounded_up(std::max({std::abs(of.first), std::abs(last), int64_t{1}}), in_word_);
    words_ = (rows + 2 * halo_) / in_word_ + 1;
    panels_ = (of.n + width_ - 1) / width_;
    for (int64_t o = 0; o < of.offsets; ++o) {
      if (const auto p = phase(o); std::ranges::find(phases_, p) == phases_.end()) phases_.push_back(p);
    }
    packed_ = cpu::AlignedFloats(static_cast<size_t>(items * std::ssize(phases_) * panels_ * words_ * width_));
  }

  int64_t width() const { return width_; }
  int64_t panels() const { return panels_; }

  /// Packs part `part` of kParts of the item of b into its place in `slot`, on one thread.
  static constexpr int64_t kParts = 8;
  void pack(int64_t item, int64_t slot, int64_t part) {
    const std::vector<float> zeros(static_cast<size_t>(of_.n));
    for (size_t i = 0; i < phases_.size(); ++i) {
      for (int64_t w = words_ * part / kParts; w < words_ * (part + 1) / kParts; ++w) {
        const auto row = [&](int64_t k) {
          const auto t = w * in_word_ + phases_[i] - halo_ + k;
          return 0 <= t && t < rows_ ? of_.b + (item * rows_ + t) * of_.n : zeros.data();
        };
        const float *const first = row(0), *const second = row(1);
        for (int64_t p = 0; p < panels_; ++p) {
          const auto columns = std::min(width_, of_.n - p * width_);
          cpu::pack_words(precision_, first + p * width_, second + p * width_, static_cast<int>(columns),
                          reinterpret_cast<std::byte*>(packed_.data() + place(slot, i, p, w)));
        }
      }
    }
  }

  /// The words of a panel from that of row t + the offset on; t is a multiple of the numbers in a word.
  const std::byte* at(int64_t slot, int64_t offset, int64_t panel, int64_t t) const {
    const auto i = static_cast<size_t>(std::ranges::find(phases_, phase(offset)) - phases_.begin());
    return reinterpret_cast<const std::byte*>(packed_.data() +
                                              place(slot, i, panel, (t + distance(offset) + halo_) / in_word_));
  }

 private:
  int64_t distance(int64_t offset) const { return of_.first + offset * of_.apart; }
  int64_t phase(int64_t offset) const { return (distance(offset) + halo_) % in_word_; }
  int64_t place(int64_t slot, size_t phase, int64_t panel, int64_t w) const {
    const auto before = (slot * std::ssize(phases_) + static_cast<int64_t>(phase)) * panels_ + panel;
    return (before * words_ + w) * width_;
  }

  Precision precision_;
  Correlated of_;
  int64_t rows_, in_word_, width_, halo_, words_, panels_;
  std::vector<int64_t> phases_;
  cpu::AlignedFloats packed_;  // [slots, phases, panels, words, width]; columns that are missing stay zero
};

namespace {

/// Columns of a, over some of its rows, as rows of words.
class TurnedA {
 public:
  explicit TurnedA(Precision precision)
      : precision_(precision),
        in_word_(cpu::numbers_in_word(precision)),
        apart_(kDepth / in_word_ + 16),  // else rows would share a few sets of the cache
        words_(16 * kShare),
        turned_(static_cast<size_t>(kShare * apart_)),
        rows_(kShare) {
    for (int64_t i = 0; i < kShare; ++i)
      rows_[static_cast<size_t>(i)] = reinterpret_cast<std::byte*>(turned_.data() + i * apart_);
  }

  /// `columns` numbers of each of `rows` rows, m apart.
  void take(const float* a, int64_t m, int64_t columns, int64_t rows) {
    for (int64_t t = 0, w = 0; t < rows; t += 16 * in_word_, w += 16) {
      for (int64_t i = 0; i < 16; ++i) pack(a + (t + i * in_word_) * m, m, columns, rows - t - i * in_word_, i);
      cpu::transpose_words(reinterpret_cast<const std::byte*>(words_.data()), kShare, static_cast<int>(columns),
                           reinterpret_cast<std::byte*>(turned_.data() + w), apart_);
    }
  }
  const std::byte* const* rows() const { return rows_.data(); }

 private:
  void pack(const float* row, int64_t m, int64_t columns, int64_t rows_left, int64_t i) {
    float* const to = words_.data() + i * kShare;
    if (rows_left <= 0) {
      std::fill_n(to, columns, 0.0f);
      return;
    }
    cpu::pack_words(precision_, row, rows_left > 1 ? row + m : nullptr, static_cast<int>(columns),
                    reinterpret_cast<std::byte*>(to));
  }

  Precision precision_;
  int64_t in_word_, apart_;
  cpu::AlignedFloats words_, turned_;
  std::vector<const std::byte*> rows_;
};

/// Items first to first + count into slots from 0 on, on LibTorch's threads.
void pack_items(std::span<const std::shared_ptr<CorrelatedWords>> all, int64_t first, int64_t count) {
  const auto b = std::ssize(all);
  at::parallel_for(0, count * b * CorrelatedWords::kParts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto slot = i / (b * CorrelatedWords::kParts);
      all[static_cast<size_t>(i % b)]->pack(first + slot, slot, i / b % CorrelatedWords::kParts);
    }
  });
}

/// Sums of one Correlated: [offsets, panels, m, width], as products add to them.
struct Sums {
  Sums(const CorrelatedWords& b, int64_t offsets, int64_t rows)
      : m(rows), panels(b.panels()), width(b.width()), values(static_cast<size_t>(offsets * panels * m * width)) {}
  float* at(int64_t offset, int64_t panel, int64_t i) {
    return values.data() + ((offset * panels + panel) * m + i) * width;
  }
  int64_t m, panels, width;
  cpu::AlignedFloats values;
};

class Correlation {
 public:
  Correlation(Precision precision, const float* a, int64_t m, int64_t items, int64_t rows,
              std::span<const Correlated> with)
      : precision_(precision), a_(a), m_(m), items_(items), rows_(rows) {
    together_ = std::clamp<int64_t>(kPackedTogether / rows, 1, items);
    for (const auto& one : with) {
      std::shared_ptr<CorrelatedWords> own;
      if (!one.words) to_pack_.push_back(own = std::make_shared<CorrelatedWords>(precision, one, together_, rows));
      const auto& words = one.words ? one.words : own;
      sides_.push_back({one, words, own != nullptr, {*words, one.offsets, m}});
    }
  }

  void run() {
    const auto threads = at::get_num_threads();
    const auto share = std::min(kShare, rounded_up((m_ + threads - 1) / threads, 32));
    for (int64_t first = 0; first < items_; first += together_) {
      const auto count = std::min(together_, items_ - first);
      pack_items(to_pack_, first, count);
      at::parallel_for(0, (m_ + share - 1) / share, 1, [&](int64_t begin, int64_t end) {
        TurnedA turned(precision_);
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t slot = 0; slot < count; ++slot)
            add(turned, first + slot, slot, i * share, std::min(share, m_ - i * share));
        }
      });
    }
    for (auto& side : sides_) give(side);
  }

 private:
  /// One b: its words in a slot for each item, or for each of those that are packed together.
  struct Side {
    Correlated of;
    std::shared_ptr<const CorrelatedWords> words;
    bool by_slot;
    Sums sums;
  };

  /// Σ over one item's rows, for `columns` columns of a.
  void add(TurnedA& turned, int64_t item, int64_t slot, int64_t column, int64_t columns) {
    const auto in_word = cpu::numbers_in_word(precision_);
    for (int64_t t = 0; t < rows_; t += kDepth) {
      const auto depth = std::min(kDepth, rows_ - t);
      turned.take(a_ + (item * rows_ + t) * m_ + column, m_, columns, depth);
      for (auto& side : sides_) {
        const auto place = side.by_slot ? slot : item;
        for (int64_t o = 0; o < side.of.offsets; ++o) {
          for (int64_t p = 0; p < side.words->panels(); ++p) {
            multiply(turned.rows(), side.words->at(place, o, p, t), (depth + in_word - 1) / in_word, columns,
                     side.sums.at(o, p, column));
          }
        }
      }
    }
  }

  void multiply(const std::byte* const* rows, const std::byte* panel, int64_t words, int64_t count, float* sums) const {
    const auto& kernels = cpu::tile_kernels();
    const auto& product = kernels.product(precision_);
    cpu::TileRun runs[kDepth / 16];
    int n = 0;
    for (int64_t w = 0; w < words; w += product.run) {
      runs[n++] = {rows, w, panel + 4 * w * kernels.width, static_cast<int>(std::min<int64_t>(product.run, words - w))};
    }
    product.multiply(runs, n, static_cast<int>(count), sums);
  }

  /// To where the gradient is wanted.
  void give(Side& side) const {
    const auto& of = side.of;
    const auto width = side.words->width();
    at::parallel_for(0, of.offsets * m_, 64, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        for (int64_t p = 0, n = 0; p < side.words->panels(); ++p, n += width) {
          const float* const sums = side.sums.at(row / m_, p, row % m_);
          float* const to = of.of_weight + row * of.n + n;
          for (int64_t c = 0; c < std::min(width, of.n - n); ++c) to[c] += sums[c];
        }
      }
    });
  }

  Precision precision_;
  const float* a_;
  int64_t m_, items_, rows_, together_;
  std::vector<Side> sides_;
  std::vector<std::shared_ptr<CorrelatedWords>> to_pack_;
};

}  // namespace

std::shared_ptr<const CorrelatedWords> words_of(Precision precision, const Correlated& of, int64_t items,
                                                int64_t rows) {
  const auto words = std::make_shared<CorrelatedWords>(precision, of, items, rows);
  pack_items({&words, 1}, 0, items);
  return words;
}

void correlate(Precision precision, const float* a, int64_t m, int64_t items, int64_t rows,
               std::span<const Correlated> with) {
  if (items == 0 || rows == 0 || m == 0) return;
  Correlation(precision, a, m, items, rows, with).run();
}

}  // namespace melflow::models
