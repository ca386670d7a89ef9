#pragma once

#include <string>

namespace melflow::tools {

/// One line on stderr that is written over as work goes on; silent where stderr is no terminal, so that logs stay
/// readable.
class ProgressLine {
 public:
  ProgressLine();
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
