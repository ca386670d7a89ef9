#include "tools/cli/progress.h"

#include <unistd.h>
#include <cmath>
#include <cstdio>

#include "base/error.h"

namespace melflow::tools {

void require_learned(int64_t steps, int64_t left_out, const std::string& run) {
  if (steps == 0 || left_out < steps) return;
  throw Error(Exit::bad_data,
              run +
                  ": nothing was learned, since no step had finite numbers; look at the data, and try a "
                  "smaller train.learning_rate");
}

void tell_going_on(int64_t step, bool data_changed, const std::string& more) {
  if (step == 0) return;
  std::fprintf(stderr, "going on at step %lld%s%s\n", static_cast<long long>(step),
               data_changed ? ", on other data than before" : "", more.c_str());
}

ProgressLine::ProgressLine(bool alone) : on_terminal_(alone && isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (shown_) std::fputs("\n", stderr);
}

void ProgressLine::show(const std::string& text) {
  if (!on_terminal_) return;
  std::fprintf(stderr, "\r%s\033[K", text.c_str());
  std::fflush(stderr);
  shown_ = true;
}

std::string clock_text(double seconds) {
  const auto s = static_cast<long>(std::isfinite(seconds) ? std::lround(seconds) : 0);
  char text[64];
  if (s >= 3600) {
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  } else {
    std::snprintf(text, sizeof text, "%ld:%02ld", s / 60, s % 60);
  }
  return text;
}

}  // namespace melflow::tools
