#pragma once

#include <algorithm>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace melflow {

/// The candidate with the smallest Levenshtein distance to `name` (the first of equals); one that begins with `name`
/// counts as one letter away, since whoever types "hop" means hop_length. Empty where none is near: within two letters,
/// or a third of the name and one, and less than half of it.
inline std::string nearest(std::string_view name, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::string::npos;
  for (const std::string& candidate : candidates) {
    // row[j] = distance between the first i letters of name and the first j of candidate.
    std::vector<size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= candidate.size(); ++j) {
        const size_t substituted = diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
      }
    }
    const bool begun = name.size() > 1 && candidate.starts_with(name);
    const size_t distance = begun ? std::min<size_t>(row.back(), 1) : row.back();
    const size_t most = std::min(std::max<size_t>(2, name.size() / 3 + 1), (std::max<size_t>(1, name.size()) - 1) / 2);
    if (distance < best_distance && (begun || distance <= most)) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

/// For the end of a message that refuses a name: "; did you mean 'hop_length'?", or, where nothing is near, what there
/// is, if that is not too much; or nothing.
inline std::string suggestion(std::string_view name, std::span<const std::string> candidates) {
  if (const auto meant = nearest(name, candidates); !meant.empty()) return "; did you mean '" + meant + "'?";
  constexpr size_t kMostListed = 16;
  if (candidates.empty() || candidates.size() > kMostListed) return "";
  std::string all = "; there are ";
  for (size_t i = 0; i < candidates.size(); ++i) all += (i == 0 ? "" : ", ") + candidates[i];
  return all;
}

}  // namespace melflow
