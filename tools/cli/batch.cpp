#include "tools/cli/batch.h"

#include <algorithm>
#include <atomic>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/parallel.h"
#include "tools/cli/output.h"
#include "tools/cli/signals.h"

namespace melflow::tools {

std::string json_text(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

namespace {

/// What became of the items, told in their order.
class Results {
 public:
  Results(size_t items, std::ostream* lines) : results_(items), lines_(lines) {}

  /// A pipe or a disk that is gone is gone for the others too.
  bool ended() const { return stop_requested() || lost_; }

  void done(size_t item, nlohmann::json value) { take(item, {std::move(value), {}}); }
  void failed(size_t item, const std::string& input, const Error& error) {
    if (stop_requested()) return;
    if (error.code() == Exit::io_error) lost_ = true;
    take(item, {{{"input", input}, {"error", error.what()}, {"exit_code", static_cast<int>(error.code())}}, error});
  }

  int exit_code() const {
    if (stop_requested()) return signal_exit_code();
    if (failures_ == 0) return 0;
    return static_cast<int>(results_.size() == 1 || code_ == Exit::io_error ? code_ : Exit::some_failed);
  }

 private:
  struct Result {
    nlohmann::json value;
    std::optional<Error> error;
  };

  void take(size_t item, Result result) {
    const std::lock_guard lock(mutex_);
    results_[item] = std::move(result);
    for (; told_ < results_.size() && results_[told_]; results_[told_++].reset()) tell(*results_[told_]);
  }

  void tell(const Result& result) {
    if (result.error) {
      std::cerr << "melflow: " << result.error->what() << "\n";
      if (code_ != Exit::io_error) code_ = result.error->code();
      ++failures_;
    }
    if (lines_ != nullptr) *lines_ << json_text(result.value) << std::endl;
  }

  std::mutex mutex_;
  std::vector<std::optional<Result>> results_;
  std::ostream* lines_;
  size_t told_ = 0;
  std::atomic<bool> lost_{false};
  int failures_ = 0;
  Exit code_ = Exit::ok;
};

}  // namespace

int for_each_item(const std::vector<std::string>& inputs, std::ostream* lines,
                  const std::function<nlohmann::json(const std::string&)>& work, int at_once) {
  Results results(inputs.size(), lines);
  engine::parallel_for(inputs.size(), at_once, [&](size_t i) {
    if (results.ended()) return;
    try {
      results.done(i, work(inputs[i]));
    } catch (const Error& e) {
      results.failed(i, inputs[i], e);
    }
  });
  return results.exit_code();
}

std::ostream* json_stream(bool asked, const std::string& output) {
  return !asked ? nullptr : output == "-" ? &std::cerr : &std::cout;
}

bool reads_stdin(const std::vector<std::string>& inputs) {
  return std::find(inputs.begin(), inputs.end(), "-") != inputs.end();
}

namespace {

std::filesystem::path stem_of(const std::string& input) {
  return input == "-" ? std::filesystem::path("stdin") : std::filesystem::path(input).stem();
}

}  // namespace

void Destination::check(const std::vector<std::string>& inputs) const {
  if (file.empty() == folder.empty()) throw Error(Exit::usage, "give either -o FILE or -d DIR for the output");
  if (!file.empty() && inputs.size() > 1) {
    throw Error(Exit::usage,
                "-o names one file, but there are " + std::to_string(inputs.size()) + " inputs; give -d DIR");
  }
  std::map<std::filesystem::path, std::string> seen;
  for (const auto& input : inputs) {
    const auto [first, is_new] = seen.emplace(stem_of(input), input);
    if (is_new || folder.empty()) continue;
    throw Error(Exit::usage, first->second + " and " + input +
                                 ": both would be written under one name; give them a folder each, one run for each");
  }
}

std::filesystem::path Destination::path_for(const std::string& input, const std::string& extension) const {
  std::filesystem::path out = file;
  if (file.empty()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw Error(Exit::cannot_create, folder + ": cannot be made (" + error.message() + ")");
    out = std::filesystem::path(folder) / (stem_of(input).string() + extension);
  }
  require_other(out, {input});
  return out;
}

}  // namespace melflow::tools
