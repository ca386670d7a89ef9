#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/support/refusal.h"

namespace melflow::testing {

inline std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

/// The same for results that point into what was parsed: the text is kept for as long as the tests run.
inline std::span<const std::byte> kept_bytes_of(const std::string& text) {
  static std::deque<std::string> kept;
  return bytes_of(kept.emplace_back(text));
}
inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
template <typename Number>
std::string little_endian(Number value) {
  std::string text(sizeof value, '\0');
  std::memcpy(text.data(), &value, sizeof value);
  return text;
}

inline std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
inline void put(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

/// Damages `valid` in every simple way (each byte inverted, set to 0 and to 0xff, each length cut off) and in `random`
/// seeded ways (1 to 8 bytes changed, or a piece removed or doubled). parse must return or throw Error each time; a
/// message must name the file. Returns how many inputs were refused.
inline int refused_mutants(const std::string& valid, int random, const std::function<void(const std::string&)>& parse) {
  int refused = 0;
  const auto attempt = [&](const std::string& mutant) {
    try {
      parse(mutant);
    } catch (const Error& error) {
      ++refused;
      EXPECT_EQ(error.code(), Exit::bad_data) << error.what();
      EXPECT_EQ(std::string(error.what()).rfind("mutant", 0), 0u) << error.what();
    }
  };
  for (size_t at = 0; at < valid.size(); ++at) {
    attempt(valid.substr(0, at));
    for (const int value : {~valid[at] & 0xff, 0, 0xff, valid[at] ^ 1}) {
      std::string mutant = valid;
      mutant[at] = static_cast<char>(value);
      attempt(mutant);
    }
  }
  std::mt19937 generator(20240607);
  const auto below = [&](size_t limit) { return generator() % limit; };
  for (int i = 0; i < random; ++i) {
    std::string mutant = valid;
    for (size_t edits = 1 + below(8); edits > 0; --edits) mutant[below(mutant.size())] = static_cast<char>(below(256));
    const size_t begin = below(mutant.size()), length = below(mutant.size() - begin);
    if (i % 3 == 1) mutant.erase(begin, length);
    if (i % 3 == 2) mutant.insert(begin, mutant.substr(begin, length));
    attempt(mutant);
  }
  return refused;
}

}  // namespace melflow::testing
