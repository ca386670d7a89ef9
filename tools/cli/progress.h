#pragma once

#include <cstdint>
#include <string>

namespace melflow::tools {

/// Throws Error{bad_data} where a training left out every step that it took, since none had finite numbers.
void require_learned(int64_t steps, int64_t left_out, const std::string& run);

/// Says where a run goes on: at which step, and whether with other data than before; `more` behind it. Nothing at step
/// 0.
void tell_going_on(int64_t step, bool data_changed, const std::string& more = "");

/// One line on stderr that is written over as work goes on; silent where stderr is no terminal, so that logs stay
/// readable, and where it is not `alone`: several would write over each other.
class ProgressLine {
 public:
  explicit ProgressLine(bool alone = true);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void show(const std::string& text);
  bool on_terminal() const { return on_terminal_; }

 private:
  bool on_terminal_, shown_ = false;
};

/// "1:05:09" or "5:09".
std::string clock_text(double seconds);

}  // namespace melflow::tools
