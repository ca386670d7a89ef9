#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace melflow::testing {

/// The Error that a call ends in: its exit code and its line; Exit::ok and no line where it ends in none.
struct Refusal {
  Exit code = Exit::ok;
  std::string message;
};
Refusal refusal_of(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {};
}

/// The call throws Error with that code, and its message names the file and says what is wrong.
void expect_refused(const auto& call, Exit code, const std::string& name, const std::string& what = "") {
  const auto refusal = refusal_of(call);
  EXPECT_EQ(static_cast<int>(refusal.code), static_cast<int>(code)) << refusal.message;
  EXPECT_NE(refusal.message.find(name), std::string::npos) << refusal.message;
  EXPECT_NE(refusal.message.find(what), std::string::npos) << refusal.message;
}

}  // namespace melflow::testing
