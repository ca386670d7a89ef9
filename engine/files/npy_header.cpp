#include "engine/files/npy_header.h"

#include <charconv>
#include <optional>

#include "base/error.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

constexpr size_t kMaxRank = 32;  // NumPy's own limit

/// The one Python dictionary that NumPy writes, recognised literally: three keys, each once; text, True or False,
/// a tuple of integers. Everything else is an error; nothing is evaluated.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  NpyHeader parse() {
    expect('{');
    while (!accept('}')) {
      parse_entry();
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (position_ != text_.size()) refuse_npy(name_, "its header goes on after the dictionary; save the array again");
    if (!descr_ || !fortran_order_ || !shape_) {
      refuse_npy(name_, "its header lacks 'descr', 'fortran_order' or 'shape'; save the array again with numpy.save");
    }
    return {*descr_, *fortran_order_, *shape_};
  }

 private:
  void parse_entry() {
    const std::string key = parse_text();
    expect(':');
    const bool again =
        (key == "descr" && descr_) || (key == "fortran_order" && fortran_order_) || (key == "shape" && shape_);
    if (again) refuse_npy(name_, "its header has the key " + shown_name(key) + " twice; save the array again");
    if (key == "descr") {
      skip_space();
      if (peek() == '[')
        refuse_npy(name_, "it holds records with fields; save the one field you want as a plain array");
      descr_ = parse_text();
    } else if (key == "fortran_order") {
      fortran_order_ = parse_bool();
    } else if (key == "shape") {
      shape_ = parse_tuple();
    } else {
      refuse_npy(name_, "its header has the unknown key " + shown_name(key) + "; save the array again with numpy.save");
    }
  }

  std::string parse_text() {
    skip_space();
    const char quote = peek();
    if (quote != '\'' && quote != '"') broken();
    const size_t end = text_.find(quote, position_ + 1);
    if (end == std::string_view::npos) broken();
    const std::string_view text = text_.substr(position_ + 1, end - position_ - 1);
    if (text.find('\\') != std::string_view::npos) broken();
    position_ = end + 1;
    return std::string(text);
  }

  bool parse_bool() {
    skip_space();
    for (const std::string_view word : {"True", "False"}) {
      if (text_.substr(position_, word.size()) == word) {
        position_ += word.size();
        return word == "True";
      }
    }
    broken();
  }

  std::vector<int64_t> parse_tuple() {
    std::vector<int64_t> values;
    expect('(');
    while (!accept(')')) {
      if (values.size() == kMaxRank) refuse_npy(name_, "it has more than 32 dimensions; reshape it");
      values.push_back(parse_integer());
      if (!accept(',')) {
        if (values.size() == 1) broken();  // (5) is a number in Python, (5,) a tuple
        expect(')');
        break;
      }
    }
    return values;
  }

  int64_t parse_integer() {
    skip_space();
    int64_t value = 0;
    const char* begin = text_.data() + position_;
    const auto [end, status] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (status == std::errc::result_out_of_range || (status == std::errc{} && value < 0)) {
      refuse_npy(name_, "its shape holds a number that no array can have; save the array again");
    }
    if (status != std::errc{}) broken();
    position_ += static_cast<size_t>(end - begin);
    if (peek() == 'L') ++position_;  // Python 2 wrote long integers so
    return value;
  }

  void skip_space() {
    constexpr std::string_view kSpace = " \t\n\r";
    while (position_ < text_.size() && kSpace.find(text_[position_]) != std::string_view::npos) ++position_;
  }
  char peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }
  bool accept(char c) {
    skip_space();
    if (position_ >= text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) broken();
  }
  [[noreturn]] void broken() const {
    refuse_npy(name_, "its header is not a plain dictionary of literals (at character " + std::to_string(position_) +
                          "), and nothing else is evaluated; save the array again with numpy.save");
  }

  std::string_view text_;
  const std::string& name_;
  size_t position_ = 0;
  std::optional<std::string> descr_;
  std::optional<bool> fortran_order_;
  std::optional<std::vector<int64_t>> shape_;
};

}  // namespace

NpyHeader parse_npy_header(std::string_view text, const std::string& name) { return HeaderParser(text, name).parse(); }

void refuse_npy(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": not a readable .npy array: " + what);
}

}  // namespace melflow::files
