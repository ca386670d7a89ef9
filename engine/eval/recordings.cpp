#include "engine/eval/recordings.h"

#include <algorithm>

namespace melflow::engine {

ChosenRecordings choose_recordings(const std::vector<std::filesystem::path>& data, const audio::MelOptions& recipe,
                                   const RecordingChoice& choice) {
  constexpr int kReaders = 2;
  const auto every = static_cast<size_t>(std::max<int64_t>(choice.hold_out_every, 1));
  // Of all of them, what is wrong with one shows when it is evaluated.
  ChosenRecordings out{every > 1 ? find_clips(data, recipe, kReaders) : list_clips(data, kReaders), {}};
  auto& places = out.clips.places;
  size_t kept = 0;
  for (size_t i = 0; i < places.size(); i += every) std::swap(places[kept++], places[i]);
  if (choice.limit > 0) kept = std::min(kept, static_cast<size_t>(choice.limit));
  places.resize(kept);
  for (auto& line : out.clips.refused) out.refused.push_back({std::move(line), Exit::bad_data});
  out.clips.refused.clear();
  return out;
}

}  // namespace melflow::engine
