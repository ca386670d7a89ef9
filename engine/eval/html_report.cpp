#include "engine/eval/html_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "audio/mel.h"
#include "audio/sound_file.h"
#include "engine/files/html.h"
#include "engine/files/picture.h"

namespace melflow::engine {
namespace {

using files::base64;
using files::html_escaped;

std::string number(double value, int digits = 4) { return files::html_number(value, digits); }

/// Of a recording, or of means, which say how many recordings they are of.
std::string table(const Measures& voice, const Measures& griffin_lim, const Measures& noise,
                  const Evaluation* means_of = nullptr) {
  std::string out = "<table><tr><th>measure</th><th>voice</th><th>Griffin-Lim</th><th>refined noise</th>";
  out += means_of != nullptr ? "<th>recordings</th>" : "";
  out += "<th>better</th></tr>\n";
  for (const auto& name : kMeasures) {
    out += std::string("<tr><td>") + name.key;
    for (const auto* way : {&voice, &griffin_lim, &noise}) out += "</td><td>" + number(way->*name.value);
    if (means_of != nullptr) out += "</td><td>" + std::to_string(means_of->compared(name.value).size());
    out += std::string("</td><td>") + name.better + "</td></tr>\n";
  }
  return out + "</table>\n";
}

std::string recordings_table(const Evaluation& evaluation) {
  std::string out = "<details><summary>Every recording</summary><table><tr><th>recording</th><th>seconds</th>";
  for (const auto& name : kMeasures) out += std::string("<th>") + name.key + "</th>";
  out += "</tr>\n";
  for (const auto& item : evaluation.items) {
    out += "<tr><td>" + html_escaped(std::filesystem::path(item.name).filename().string()) + "</td><td>" +
           number(item.seconds, 1) + "</td>";
    for (const auto& name : kMeasures) out += "<td>" + number(item.voice.*name.value, 3) + "</td>";
    out += "</tr>\n";
  }
  return out + "</table></details>\n";
}

std::string player(const char* label, const audio::Waveform& sound) {
  auto bytes = audio::wav_header(sound.sample_rate, audio::Encoding::pcm16, static_cast<int64_t>(sound.samples.size()));
  const auto pcm = audio::encode_pcm(sound.samples, audio::Encoding::pcm16);
  bytes.insert(bytes.end(), pcm.begin(), pcm.end());
  return std::string("<figure><figcaption>") + label +
         "</figcaption><audio controls preload=\"metadata\" src=\"data:audio/wav;base64," + base64(bytes) +
         "\"></audio></figure>\n";
}

/// A mel as wide as the page, so that its time runs along the likelihood's below it.
std::string panel(const char* label, const files::Image& image, const audio::MelOptions& recipe) {
  return std::string("<figure><figcaption><span>mel of the ") + label + "</span><span>" + number(recipe.f_min, 0) +
         " to " + number(recipe.f_max, 0) + " Hz</span></figcaption><img alt=\"mel of the " + label +
         "\" src=\"data:image/png;base64," + base64(files::png_bytes(image)) + "\"></figure>\n";
}

/// The likelihood over time; no more points than a screen has columns, each the mean of its frames.
std::string likelihood_line(const std::vector<float>& nats, double seconds) {
  constexpr size_t kMostPoints = 1000;
  constexpr int kWidth = 1000, kHeight = 140;
  if (nats.empty()) return "";
  const size_t points = std::min(nats.size(), kMostPoints);
  std::vector<double> y(points);
  for (size_t i = 0; i < points; ++i) {
    const size_t first = i * nats.size() / points, last = std::max(first + 1, (i + 1) * nats.size() / points);
    double sum = 0;
    for (size_t f = first; f < last; ++f) sum += nats[f];
    y[i] = sum / static_cast<double>(last - first);
  }
  const auto [low, high] = std::minmax_element(y.begin(), y.end());
  const double span = std::max(*high - *low, 1e-9);
  std::string line;
  for (size_t i = 0; i < points; ++i) {
    const double x = points > 1 ? kWidth * static_cast<double>(i) / static_cast<double>(points - 1) : 0.0;
    line += number(x, 1) + "," + number(20 + (kHeight - 40) * (*high - y[i]) / span, 1) + " ";
  }
  char head[160];
  std::snprintf(head, sizeof head, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"nats per sample over time\">",
                kWidth, kHeight);
  return std::string(head) + "<polyline points=\"" + line + "\"/><text x=\"2\" y=\"12\">" + number(*high, 2) +
         " nats per sample (the higher, the less the voice expected it)</text><text x=\"2\" y=\"136\">" +
         number(*low, 2) + "</text><text x=\"998\" y=\"136\" text-anchor=\"end\">" + number(seconds, 1) +
         " s</text></svg>\n";
}

std::string section(const EvalItem& item, audio::MelExtractor& extract) {
  const auto [recording, voice] = files::spectrogram_panels(extract(item.recording), extract(item.synthesis));
  const auto& recipe = extract.options();
  return "<section><h2>" + html_escaped(std::filesystem::path(item.name).filename().string()) +
         "</h2>\n<div class=\"players\">" + player("recording", item.recording) + player("voice", item.synthesis) +
         player("Griffin-Lim", item.griffin_lim_sound) + "</div>\n" + panel("recording", recording, recipe) +
         panel("voice", voice, recipe) + likelihood_line(item.per_frame, item.seconds) +
         "<details><summary>Measures</summary>" + table(item.voice, item.griffin_lim, item.refined_noise) +
         "</details></section>\n";
}

}  // namespace

std::string html_report(const Evaluation& evaluation) {
  double seconds = 0;
  for (const auto& item : evaluation.items) seconds += item.seconds;
  std::string out = files::html_head("melflow eval");
  out += "<h1>" + html_escaped(std::filesystem::path(evaluation.voice).filename().string()) + "</h1>\n<p>" +
         std::to_string(evaluation.items.size()) + " recordings, " + number(seconds, 1) + " s; sigma " +
         number(evaluation.sigma, 3) + ", draws " + std::to_string(evaluation.draws) + ", refining passes " +
         std::to_string(evaluation.refine) + ", denoiser " + number(evaluation.denoise, 3) + ", seed " +
         std::to_string(evaluation.seed) +
         ". Each was synthesised from its own mel; Griffin-Lim and refined noise from the same mel are the floors to "
         "beat.</p>\n";
  if (!evaluation.pesq_absent.empty()) out += "<p>No PESQ: " + html_escaped(evaluation.pesq_absent) + ".</p>\n";
  out += table(evaluation.mean(&EvalItem::voice), evaluation.mean(&EvalItem::griffin_lim),
               evaluation.mean(&EvalItem::refined_noise), &evaluation);
  out += recordings_table(evaluation);
  if (!evaluation.failures.empty()) {
    out += "<p>Failed:</p><ul>\n";
    for (const auto& failure : evaluation.failures) out += "<li>" + html_escaped(failure.message) + "</li>\n";
    out += "</ul>\n";
  }
  audio::MelExtractor extract(evaluation.mel);
  size_t shown = 0;
  for (const auto& item : evaluation.items) {
    if (item.recording.samples.empty()) continue;
    out += section(item, extract);
    ++shown;
  }
  if (shown < evaluation.items.size()) {
    out +=
        "<p>Sounds and pictures of the first " + std::to_string(shown) + " recordings; the table above has all.</p>\n";
  }
  return out + files::kHtmlEnd;
}

}  // namespace melflow::engine
