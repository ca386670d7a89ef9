#include <algorithm>
#include <cmath>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "engine/data/lint.h"
#include "engine/files/html.h"

namespace melflow::engine {
namespace {

using files::html_escaped;
using files::html_number;

/// Recordings that a page lists; the JSON has all.
constexpr size_t kMostRows = 5000;

nlohmann::json number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

/// Bars of how often values fall into `bins` equal parts of [low, high].
std::string histogram(const std::vector<double>& values, double low, double high, const std::string& unit) {
  constexpr int kBins = 48, kHeight = 120;
  std::vector<double> counts(kBins);
  for (const double v : values) {
    const int bin = static_cast<int>((v - low) / std::max(high - low, 1e-9) * kBins);
    ++counts[static_cast<size_t>(std::clamp(bin, 0, kBins - 1))];
  }
  const double most = std::max(*std::ranges::max_element(counts), 1.0);
  std::string out = "<svg viewBox=\"0 0 960 150\" role=\"img\">";
  for (int i = 0; i < kBins; ++i) {
    const double height = kHeight * counts[static_cast<size_t>(i)] / most;
    char bar[160];
    std::snprintf(bar, sizeof bar, "<rect x=\"%d\" y=\"%.1f\" width=\"18\" height=\"%.1f\" fill=\"#2a7ae2\"/>", 20 * i,
                  kHeight - height, height);
    out += bar;
  }
  return out + "<text x=\"0\" y=\"142\">" + html_number(low, 1) + " " + unit +
         "</text><text x=\"960\" y=\"142\" text-anchor=\"end\">" + html_number(high, 1) + " " + unit +
         "</text></svg>\n";
}

std::string spread(const CorpusLint& lint, const char* title, double ClipLint::*value, const std::string& unit) {
  std::vector<double> values;
  for (const auto& clip : lint.clips) {
    if (std::isfinite(clip.*value) && clip.sample_rate > 0) values.push_back(clip.*value);
  }
  if (values.empty()) return "";
  const auto [low, high] = std::ranges::minmax_element(values);
  return std::string("<h2>") + title + "</h2>\n" + histogram(values, *low, *high, unit);
}

std::string rows(const CorpusLint& lint) {
  std::string out =
      "<table><tr><th>recording</th><th>seconds</th><th>peak dB</th><th>RMS dB</th><th>finding</th></tr>\n";
  size_t shown = 0;
  for (const auto& clip : lint.clips) {
    if (clip.findings.empty() || shown == kMostRows) continue;
    ++shown;
    std::string findings;
    for (const auto& f : clip.findings) findings += std::string(f.kind) + ": " + html_escaped(f.detail) + "<br>";
    out += "<tr><td>" + html_escaped(clip.name) + "</td><td>" + html_number(clip.seconds, 2) + "</td><td>" +
           html_number(clip.peak_db, 1) + "</td><td>" + html_number(clip.rms_db, 1) + "</td><td>" + findings +
           "</td></tr>\n";
  }
  return out + "</table>\n";
}

}  // namespace

nlohmann::json to_json(const ClipLint& clip) {
  nlohmann::json findings = nlohmann::json::array();
  for (const auto& f : clip.findings) findings.push_back({{"kind", f.kind}, {"detail", f.detail}});
  return {{"input", clip.name},
          {"sample_rate", clip.sample_rate},
          {"channels", clip.channels},
          {"seconds", clip.seconds},
          {"peak_db", number(clip.peak_db)},
          {"rms_db", number(clip.rms_db)},
          {"dc", clip.dc},
          {"clipped_samples", clip.clipped},
          {"hum_db", number(clip.hum_db)},
          {"longest_gap_seconds", clip.longest_gap},
          {"sha256", clip.digest},
          {"findings", findings}};
}

nlohmann::json summary_json(const CorpusLint& lint) {
  nlohmann::json counts = nlohmann::json::object();
  for (const auto& kind : kFindingKinds) {
    counts[kind.name] = std::ranges::count_if(lint.clips, [&](const ClipLint& clip) {
      return std::ranges::any_of(clip.findings, [&](const Finding& f) { return f.kind == std::string(kind.name); });
    });
  }
  return {{"recordings", lint.clips.size()},
          {"with_findings", lint.with_findings()},
          {"refused", lint.refused},
          {"seconds", lint.seconds},
          {"sample_rate", lint.usual_rate},
          {"level_median_db", number(lint.median_db)},
          {"level_5_percent_db", number(lint.low_db)},
          {"level_95_percent_db", number(lint.high_db)},
          {"findings", counts}};
}

std::string lint_page(const CorpusLint& lint) {
  const auto summary = summary_json(lint);
  std::string out = files::html_head("melflow data check");
  out += "<h1>" + std::to_string(lint.clips.size()) + " recordings</h1>\n<p>" + html_number(lint.seconds / 3600, 2) +
         " hours at " + std::to_string(lint.usual_rate) + " Hz; level " + html_number(lint.median_db, 1) +
         " dB in the middle, nine tenths between " + html_number(lint.low_db, 1) + " and " +
         html_number(lint.high_db, 1) + "; something was found in " + std::to_string(lint.with_findings()) + ".</p>\n";
  for (const auto& line : lint.refused) out += "<p>Refused: " + html_escaped(line) + "</p>\n";
  out += "<table><tr><th>finding</th><th>recordings</th><th>meaning</th></tr>\n";
  for (const auto& kind : kFindingKinds) {
    out += std::string("<tr><td>") + kind.name + "</td><td>" + summary["findings"][kind.name].dump() + "</td><td>" +
           kind.meaning + "</td></tr>\n";
  }
  out += "</table>\n" + spread(lint, "Level", &ClipLint::rms_db, "dB") +
         spread(lint, "Length", &ClipLint::seconds, "s") + rows(lint);
  if (lint.with_findings() > static_cast<int64_t>(kMostRows)) {
    out += "<p>The first " + std::to_string(kMostRows) + " of them; --json has all.</p>\n";
  }
  return out + files::kHtmlEnd;
}

}  // namespace melflow::engine
