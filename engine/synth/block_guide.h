#pragma once

#include <complex>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "audio/fft.h"
#include "engine/synth/block_weights.h"

namespace melflow::engine {

/// What a mel says about one block; models::BlockFlow::Guide, a block at a time.
struct BlockGuide {
  std::vector<float> taps;                         ///< [filter_taps], taps[0] = 1
  float gain = 1, sigma = 1;                       ///< not their logarithms
  float most = 1;                                  ///< largest |μ| and exp(s)
  std::vector<float> film;                         ///< [2·hidden]
  std::vector<float> lag_bias;                     ///< [lags]
  std::vector<float> magnitude, magnitude_behind;  ///< [bins]
  float loudness_behind = 1;                       ///< root mean square
};

/// Root mean square of a sound by the sum of the squares of its STFT's magnitudes, up to half the rate:
/// models::BlockFlow::loudness.
double loudness(double squares);

/// Mel frames in, guides of blocks out, as soon as the encoder has seen far enough.
class BlockGuides {
 public:
  explicit BlockGuides(std::shared_ptr<const BlockWeights> weights);

  /// Makes beforehand of a frame [n_mels], the next behind those that were heard or added, what its add() will only
  /// take. May run beside an add() of a frame that was heard, and beside next().
  void hear(std::span<const float> frame);
  /// Takes a frame [n_mels]. Afterwards next() answers the blocks that became known, hop/group of them a frame.
  void add(std::span<const float> frame);
  /// Goes on where `other`, of the same weights, is.
  void continue_from(const BlockGuides& other);
  /// The mel has ended: its last frame goes on for as long as the encoder looks ahead.
  void finish() { guess(models::BlockFlowConstants::kLookahead + 1); }
  /// The last frame goes on for so many more.
  void guess(int64_t frames);
  /// The next block's guide, valid until the following call; nothing where more frames are needed.
  const BlockGuide* next();
  /// Goes past what next() would answer; whether there was one.
  bool skip();

 private:
  /// What is known at a frame; blocks blend two of them.
  struct AtFrame {
    std::vector<float> log_inverse{};  ///< [2·bins]: ln of the filter's inverse, real parts, then imaginary
    float level = 0, log_sigma = 0;    ///< log_sigma: over the level
    float loudness = 0;                ///< of a sound of this mel, root mean square
    float room = 0;                    ///< ln of how far below that noise of this level is
    std::vector<float> film{}, lag_bias{}, magnitude{};
  };

  std::vector<AtFrame> described(std::span<const float> frame);
  std::optional<AtFrame> push(std::span<const float> frame);
  /// A convolution's next output: joins the last kernel inputs, SiLU, and adds the middle input where it is as wide.
  std::optional<std::vector<float>> convolve(size_t stage, std::vector<float> input);
  AtFrame describe(std::span<const float> features, std::span<const float> frame, float level);
  static float proper_level(const AtFrame& at);  ///< BlockFlow::proper_level
  /// What BlockFlow::log_inverse makes of a cepstrum: real parts, then imaginary.
  std::vector<float> log_inverse(std::span<const float> cepstrum);
  void blend(double fraction);
  /// From a block to the next, with all that does not come from the filter.
  void advance();
  /// models::BlockFlow::behind of magnitude and loudness.
  void look_behind();
  /// What BlockFlow::cut makes of blended_.
  void cut();
  /// The taps of the filter of this ln A^-1 (real parts, then imaginary), and (|T|/|A|)² of what is cut off.
  double cut_plainly(std::span<const float> log_inverse, audio::FloatRealFft& fft);

  std::shared_ptr<const BlockWeights> weights_;
  audio::FloatRealFft hearing_fft_, fft_;                // of what is described, and of what is blended
  std::vector<std::vector<std::vector<float>>> inputs_;  // of each stage, the last few
  std::vector<std::vector<float>> frames_;               // the last frames, the newest last
  std::vector<float> levels_;
  std::vector<float> last_frame_;
  std::mutex hearing_;
  std::deque<std::vector<AtFrame>> heard_;       // of each frame that was heard and not added
  std::deque<AtFrame> known_;                    // consecutive frames
  std::deque<AtFrame> past_;                     // those before them, as far back as a block looks behind
  int64_t blocks_in_frame_, block_ = 0;          // next block within known_[0]
  std::vector<float> blended_, power_;           // [2·bins]: ln A^-1 at a block; [bins]
  std::optional<audio::FloatRealFft> fine_fft_;  // kFineFft, of filters that are long: few voices have any
  BlockGuide guide_;
};

}  // namespace melflow::engine
