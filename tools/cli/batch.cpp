#include "tools/cli/batch.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <new>
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
  Results(const std::vector<std::string>& inputs, std::ostream* lines)
      : inputs_(inputs), results_(inputs.size()), lines_(lines) {}
  /// Tells the rest, whatever ended the work: behind an item that was not done, too.
  ~Results() {
    for (; told_ < results_.size(); ++told_) {
      if (results_[told_]) tell(*results_[told_]);
    }
  }
  Results(const Results&) = delete;
  Results& operator=(const Results&) = delete;

  /// A pipe or a disk that is gone is gone for the others too.
  bool ended() const { return stop_requested() || lost_; }

  void done(size_t item, const nlohmann::json& value) { take(item, {json_text(value), {}}); }

  void failed(size_t item, const Error& error) {
    if (stop_requested()) return;
    if (error.code() == Exit::io_error) lost_ = true;
    const nlohmann::json value{
        {"input", inputs_[item]}, {"error", error.what()}, {"exit_code", static_cast<int>(error.code())}};
    take(item, {json_text(value), error});
  }

  int exit_code() const {
    if (stop_requested()) return signal_exit_code();
    if (failures_ == 0) return 0;
    return static_cast<int>(lost_ ? Exit::io_error : results_.size() == 1 ? code_ : Exit::some_failed);
  }

 private:
  struct Result {
    std::string line;
    std::optional<Error> error;
  };

  void take(size_t item, Result result) {
    const std::lock_guard lock(mutex_);
    if (result.error) {
      code_ = result.error->code();
      ++failures_;
    }
    results_[item] = std::move(result);
    for (; told_ < results_.size() && results_[told_]; results_[told_++].reset()) tell(*results_[told_]);
  }

  void tell(const Result& result) const {
    if (result.error) std::cerr << "melflow: " << result.error->what() << "\n";
    if (lines_ != nullptr) *lines_ << result.line << std::endl;
  }

  const std::vector<std::string>& inputs_;
  std::mutex mutex_;
  std::vector<std::optional<Result>> results_;
  std::ostream* lines_;
  size_t told_ = 0;
  std::atomic<bool> lost_{false};
  int failures_ = 0;
  Exit code_ = Exit::ok;
};

/// How many of the inputs, the largest of them, are at once in half of the memory: a compressed mel becomes many times
/// as many bytes as float32, and there are some copies on the way. A recording takes less.
int as_many_as_fit(const std::vector<std::string>& inputs, int at_once) {
  std::vector<uintmax_t> sizes;
  for (const auto& input : inputs) {
    std::error_code error;
    const auto size = std::filesystem::file_size(input, error);
    sizes.push_back(error ? 0 : size);
  }
  std::ranges::sort(sizes, std::greater<>());
  constexpr uintmax_t kBytesOfOne = 16;
  const auto memory = static_cast<uintmax_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES))) *
                      static_cast<uintmax_t>(std::max(0L, ::sysconf(_SC_PAGESIZE)));
  const auto most = std::min(static_cast<size_t>(at_once), sizes.size());
  int fit = 0;
  for (uintmax_t sum = 0; static_cast<size_t>(fit) < most; ++fit) {
    sum += std::min(sizes[static_cast<size_t>(fit)], memory);
    if (sum > memory / 2 / kBytesOfOne) break;
  }
  return std::max(1, fit);
}

}  // namespace

int for_each_item(const std::vector<std::string>& inputs, std::ostream* lines,
                  const std::function<nlohmann::json(const std::string&)>& work, int at_once) {
  if (at_once > 1) at_once = as_many_as_fit(inputs, at_once);
  Results results(inputs, lines);
  std::mutex mutex;
  std::vector<size_t> again;  // what others left no memory for
  const auto attempt = [&](size_t i, bool last) {
    if (results.ended()) return;
    const bool alone = last || inputs[i] == "-";  // what was read of stdin is gone
    const auto put_off = [&] {
      const std::lock_guard lock(mutex);
      again.push_back(i);
    };
    try {
      results.done(i, work(inputs[i]));
    } catch (const Error& e) {
      if (e.code() == Exit::unavailable && !alone) {
        put_off();
      } else {
        results.failed(i, e);
      }
    } catch (const std::bad_alloc&) {
      if (alone) throw;
      put_off();
    }
  };
  engine::parallel_for(inputs.size(), at_once, [&](size_t i) { attempt(i, at_once == 1); });
  std::ranges::sort(again);
  for (const auto i : again) attempt(i, true);
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
