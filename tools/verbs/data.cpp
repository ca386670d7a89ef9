#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <optional>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/data/lint.h"
#include "engine/data/pack.h"
#include "engine/kernels/thread_team.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/progress.h"
#include "tools/cli/signals.h"
#include "tools/cli/verb_family.h"

namespace melflow::tools {
namespace {

void print_table(const engine::CorpusLint& lint) {
  const auto summary = engine::summary_json(lint);
  for (const auto& clip : lint.clips) {
    for (const auto& f : clip.findings)
      std::printf("%-9s  %s  %s\n", f.kind, one_line(clip.name).c_str(), one_line(f.detail).c_str());
  }
  std::printf("%sfinding    recordings  meaning\n", lint.with_findings() > 0 ? "\n" : "");
  for (const auto& kind : engine::kFindingKinds) {
    std::printf("%-9s  %10ld  %s\n", kind.name, static_cast<long>(summary["findings"][kind.name].get<int64_t>()),
                kind.meaning);
  }
  std::printf("%zu recordings, %s", lint.clips.size(), clock_text(lint.seconds).c_str());
  if (lint.usual_rate > 0) std::printf(", %d Hz", lint.usual_rate);
  if (std::isfinite(lint.median_db))
    std::printf("; level %.1f dB (5 %%: %.1f, 95 %%: %.1f)", lint.median_db, lint.low_db, lint.high_db);
  std::printf("; something found in %ld\n", static_cast<long>(lint.with_findings()));
}

int run_check(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> paths;
  std::string html;
  engine::LintOptions options;
  bool as_json = false, force = false;
  int threads = 0;
  app.add_option("paths", paths, "folders of recordings and .tar shards, or such files")->required();
  app.add_option("--html", html, "write one page that opens without a network");
  app.add_flag("--json", as_json, "one JSON object a recording on stdout, then one of the whole");
  app.add_option("--short", options.short_seconds, "report recordings shorter than this, in seconds")
      ->check(within(0, 1e6))
      ->capture_default_str();
  app.add_option("--gap", options.gap_seconds, "report silences longer than this, in seconds")
      ->check(within(0, 1e6))
      ->capture_default_str();
  app.add_option("--level", options.level_db, "report recordings further than this from the median level, in dB")
      ->check(within(0, 1e6))
      ->capture_default_str();
  add_threads(app, threads);
  app.add_flag("--force", force, "replace the page where it exists");
  parse(app, std::move(arguments));
  options.workers = engine::threads_for(threads);
  require_ending("--html", html, ".html");
  auto page = open_output(html, force);
  catch_signals();
  ProgressLine line;
  const auto lint =
      engine::lint_corpus({paths.begin(), paths.end()}, options, stop_requested, [&](size_t done, size_t total) {
        if (done % 64 == 0) line.show(std::to_string(done) + "/" + std::to_string(total));
      });
  if (const int code = signal_exit_code(); code != 0) return code;  // half a check is none
  for (const auto& refused : lint.refused) std::cerr << "melflow data check: " << refused << "\n";
  if (as_json) {
    for (const auto& clip : lint.clips) std::cout << json_text(engine::to_json(clip)) << "\n";
    std::cout << json_text({{"summary", engine::summary_json(lint)}}) << "\n";
  } else {
    print_table(lint);
  }
  if (page) {
    const auto text = engine::lint_page(lint);
    page->write(std::as_bytes(std::span(text)));
    page->commit();
  }
  return static_cast<int>(lint.with_findings() > 0 || !lint.refused.empty() ? Exit::some_failed : Exit::ok);
}

int run_pack(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> paths;
  std::string prefix;
  engine::ShardOptions options;
  bool as_json = false, force = false;
  app.add_option("paths", paths, "folders of recordings, with .mel.npy or .npy beside them, or such files")->required();
  app.add_option("-o,--out", prefix, "shards are named PREFIX-000000.tar and so on")->required();
  app.add_option("--shard-size", options.shard_bytes, "bytes, or 500MB, 1GB")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(uint64_t{1} << 16, uint64_t{1} << 33));
  app.add_flag("--json", as_json, "one JSON object on stdout");
  app.add_flag("--force", force, "replace shards that exist");
  parse(app, std::move(arguments));
  options.existing = existing(force);
  catch_signals();
  ProgressLine line;
  const auto packed =
      engine::pack({paths.begin(), paths.end()}, prefix, options, stop_requested, [&](size_t done, size_t total) {
        if (done % 64 == 0) line.show(std::to_string(done) + "/" + std::to_string(total));
      });
  for (const auto& refused : packed.refused) std::cerr << "left out: " << refused << "\n";
  if (const int code = signal_exit_code(); code != 0) return code;
  if (as_json) {
    std::cout << json_text({{"shards", packed.shards},
                            {"recordings", packed.recordings},
                            {"mels", packed.mels},
                            {"bytes", packed.bytes},
                            {"left_out", packed.refused}})
              << "\n";
  }
  std::fprintf(stderr, "%ld recordings, %ld mels, %zu shards, %.1f MB\n", static_cast<long>(packed.recordings),
               static_cast<long>(packed.mels), packed.shards.size(), static_cast<double>(packed.bytes) * 1e-6);
  return static_cast<int>(packed.refused.empty() ? Exit::ok : Exit::some_failed);
}

constexpr Verb kVerbs[] = {
    {"check", "what is wrong with recordings, before a training learns it", run_check},
    {"pack", "recordings into .tar shards that are read in one go", run_pack},
};

}  // namespace

int run_data(CLI::App&, std::vector<std::string> arguments) {
  return run_family({.program = "melflow data",
                     .verbs = kVerbs,
                     .about = "recordings for a training\n\n"
                              "  melflow data check recordings/ --html check.html\n"
                              "  melflow data pack recordings/ -o shards/speech --shard-size 500MB\n"},
                    std::move(arguments));
}

}  // namespace melflow::tools
