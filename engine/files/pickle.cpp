#include "engine/files/pickle.h"

#include <bit>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "audio/error.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

constexpr size_t kMaxNodes = size_t{1} << 20;
constexpr size_t kMaxInstructions = size_t{1} << 23;
constexpr size_t kMaxGlobalName = 256;
enum : PickleId { kNone, kFalse, kTrue, kEmptyTuple, kFirstFree };  // made once: pickles repeat them endlessly

/// The instructions by their letters (CPython's pickletools.py has the meaning of each).
enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinfloat = 'G',
  kBinint = 'J',
  kBinint1 = 'K',
  kBinint2 = 'M',
  kNoneOp = 'N',
  kBinpersid = 'Q',
  kReduce = 'R',
  kBinstring = 'T',
  kShortBinstring = 'U',
  kBinunicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kEmptyDict = '}',
  kAppends = 'e',
  kBinget = 'h',
  kLongBinget = 'j',
  kList = 'l',
  kEmptyList = ']',
  kBinput = 'q',
  kLongBinput = 'r',
  kSetitem = 's',
  kTuple = 't',
  kEmptyTupleOp = ')',
  kSetitems = 'u',
  kProto = 0x80,
  kNewobj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewtrue = 0x88,
  kNewfalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kBinbytes = 'B',
  kShortBinbytes = 'C',
  kShortBinunicode = 0x8c,
  kBinunicode8 = 0x8d,
  kBinbytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAdditems = 0x90,
  kFrozenset = 0x91,
  kNewobjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kBytearray8 = 0x96,
};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& name, const GlobalPolicy& allowed)
      : bytes_(bytes), name_(name), allowed_(allowed) {
    for (const PickleKind kind : {PickleKind::none, PickleKind::boolean, PickleKind::boolean, PickleKind::tuple}) {
      out_.nodes.emplace_back().kind = kind;
    }
    out_.nodes[kTrue].integer = 1;
  }

  Pickle run() {
    for (size_t count = 0; count < kMaxInstructions; ++count) {
      const auto opcode = number<uint8_t>();
      if (opcode == kStop) {
        if (stack_.size() != 1 || !marks_.empty()) refuse("it stops with its stack in disorder");
        out_.root = stack_.back();
        out_.length = position_;
        return std::move(out_);
      }
      if (!(scalar(opcode) || text(opcode) || container(opcode) || memo(opcode) || object(opcode))) unknown(opcode);
    }
    refuse("it has more than 2^23 instructions");
  }

 private:
  bool scalar(uint8_t opcode) {
    switch (opcode) {
      case kProto: {
        const auto version = number<uint8_t>();
        if (version < 2 || version > 5) refuse("protocol " + std::to_string(version) + " is not one of 2 to 5");
        return true;
      }
      case kFrame:
        if (number<uint64_t>() > bytes_.size() - position_) truncated();
        return true;
      case kNoneOp:
        return push(kNone);
      case kNewtrue:
        return push(kTrue);
      case kNewfalse:
        return push(kFalse);
      case kBinint:
        return integer(number<int32_t>());
      case kBinint1:
        return integer(number<uint8_t>());
      case kBinint2:
        return integer(number<uint16_t>());
      case kLong1:
        return long_integer(take(number<uint8_t>()));
      case kLong4: {
        const auto length = number<int32_t>();
        if (length < 0) refuse("it holds an integer of negative length");
        return long_integer(take(static_cast<uint64_t>(length)));
      }
      case kBinfloat: {
        make(PickleKind::real).real = std::bit_cast<double>(__builtin_bswap64(number<uint64_t>()));
        return true;
      }
      default:
        return false;
    }
  }

  bool text(uint8_t opcode) {
    switch (opcode) {
      case kShortBinunicode:
      case kShortBinstring:
        return string(PickleKind::text, number<uint8_t>());
      case kBinunicode:
        return string(PickleKind::text, number<uint32_t>());
      case kBinunicode8:
        return string(PickleKind::text, number<uint64_t>());
      case kBinstring: {
        const auto length = number<int32_t>();
        if (length < 0) refuse("it holds a string of negative length");
        return string(PickleKind::text, static_cast<uint64_t>(length));
      }
      case kShortBinbytes:
        return string(PickleKind::bytes, number<uint8_t>());
      case kBinbytes:
        return string(PickleKind::bytes, number<uint32_t>());
      case kBinbytes8:
      case kBytearray8:
        return string(PickleKind::bytes, number<uint64_t>());
      default:
        return false;
    }
  }

  bool container(uint8_t opcode) {
    switch (opcode) {
      case kMark:
        marks_.push_back(stack_.size());
        return true;
      case kPop:
        // As CPython: a mark on top is what goes.
        if (!marks_.empty() && marks_.back() == stack_.size()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case kPopMark:
        since_mark();
        return true;
      case kDup:
        return push(top());
      case kEmptyTupleOp:
        return push(kEmptyTuple);
      case kTuple:
        return filled(PickleKind::tuple, since_mark());
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return filled(PickleKind::tuple, last(opcode - kTuple1 + 1u));
      case kEmptyList:
        return filled(PickleKind::list, {});
      case kList:
        return filled(PickleKind::list, since_mark());
      case kEmptySet:
        return filled(PickleKind::set, {});
      case kFrozenset:
        return filled(PickleKind::set, since_mark());
      case kEmptyDict:
        return filled(PickleKind::dict, {});
      case kDict:
        return filled(PickleKind::dict, pairs(since_mark()));
      case kAppend:
        return extend({pop()});
      case kAppends:
      case kAdditems:
        return extend(since_mark());
      case kSetitem:
        return extend(last(2));
      case kSetitems:
        return extend(pairs(since_mark()));
      default:
        return false;
    }
  }

  bool memo(uint8_t opcode) {
    switch (opcode) {
      case kBinput:
        return remember(number<uint8_t>());
      case kLongBinput:
        return remember(number<uint32_t>());
      case kMemoize:
        return remember(static_cast<uint32_t>(memo_.size()));
      case kBinget:
        return recall(number<uint8_t>());
      case kLongBinget:
        return recall(number<uint32_t>());
      default:
        return false;
    }
  }

  bool object(uint8_t opcode) {
    switch (opcode) {
      case kGlobal: {
        const auto module = line(), symbol = line();
        return global(module, symbol);
      }
      case kStackGlobal: {
        const PickleId symbol = pop(), module = pop();
        if (node(symbol).kind != PickleKind::text || node(module).kind != PickleKind::text) {
          refuse("it names a class by something that is no text");
        }
        return global(node(module).text, node(symbol).text);
      }
      case kReduce:
        return made_of(PickleKind::call);
      case kNewobj:
        return made_of(PickleKind::object);
      case kNewobjEx:
        if (node(pop()).kind != PickleKind::dict) refuse("it makes an object with keywords that are no dictionary");
        return made_of(PickleKind::object);
      case kBuild: {
        const PickleId state = pop();
        PickleNode& target = node(top());
        if (target.kind != PickleKind::object && target.kind != PickleKind::call) {
          refuse("it sets the state of something that is no object");
        }
        target.state = state;
        return true;
      }
      case kBinpersid: {
        const PickleId id = pop();
        make(PickleKind::persistent).arguments = id;
        return true;
      }
      default:
        return false;
    }
  }

  bool global(std::string_view module, std::string_view symbol) {
    if (module.empty() || symbol.empty() || module.size() + symbol.size() > kMaxGlobalName) {
      refuse("it names a class by an empty or endless text");
    }
    const auto& known = *out_.globals.insert(std::string(module) + "." + std::string(symbol)).first;
    if (!allowed_(known)) {
      throw Error(Exit::bad_data, name_ + ": its pickle names " + shown_name(known) +
                                      ", which is not among the plain types that are read; nothing in it was run; "
                                      "save the weights alone: torch.save(model.state_dict(), FILE)");
    }
    make(PickleKind::global).text = known;
    return true;
  }

  bool made_of(PickleKind kind) {
    const PickleId arguments = pop(), callee = pop();
    const auto what = node(callee).kind;
    // A class may come by a persistent id: PyTorch stored modules so, with their source text.
    if (what != PickleKind::global && !(kind == PickleKind::object && what == PickleKind::persistent)) {
      refuse("it calls something that is no named class");
    }
    if (node(arguments).kind != PickleKind::tuple) refuse("it calls a class with arguments that are no tuple");
    PickleNode& made = make(kind);
    made.callee = callee;
    made.arguments = arguments;
    return true;
  }

  bool integer(int64_t value) {
    make(PickleKind::integer).integer = value;
    return true;
  }
  bool long_integer(std::string_view digits) {
    if (digits.size() > sizeof(int64_t)) {
      make(PickleKind::big_integer).text = digits;
      return true;
    }
    uint64_t value = !digits.empty() && (digits.back() & 0x80) ? ~uint64_t{0} : 0;  // the sign goes all the way up
    std::memcpy(&value, digits.data(), digits.size());
    return integer(static_cast<int64_t>(value));
  }
  bool string(PickleKind kind, uint64_t length) {
    const auto content = take(length);
    make(kind).text = content;
    return true;
  }
  bool filled(PickleKind kind, std::vector<PickleId> items) {
    make(kind).items = std::move(items);
    return true;
  }
  bool extend(const std::vector<PickleId>& items) {
    PickleNode& target = node(top());
    const auto kind = target.kind;
    if (kind != PickleKind::list && kind != PickleKind::set && kind != PickleKind::dict && kind != PickleKind::call &&
        kind != PickleKind::object) {
      refuse("it puts items into something that holds none");
    }
    target.items.insert(target.items.end(), items.begin(), items.end());
    return true;
  }
  std::vector<PickleId> pairs(std::vector<PickleId> items) {
    if (items.size() % 2 != 0) refuse("a dictionary in it has a key without a value");
    return items;
  }

  bool push(PickleId id) {
    stack_.push_back(id);
    return true;
  }
  PickleNode& make(PickleKind kind) {
    if (out_.nodes.size() >= kMaxNodes) refuse("it holds more than 2^20 values");
    push(static_cast<PickleId>(out_.nodes.size()));
    PickleNode& made = out_.nodes.emplace_back();
    made.kind = kind;
    return made;
  }
  PickleNode& node(PickleId id) { return out_.nodes[id]; }

  /// What lies on the stack above the last mark; nothing below a mark may be taken otherwise.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleId top() {
    if (stack_.size() <= floor()) refuse("it takes from an empty stack");
    return stack_.back();
  }
  PickleId pop() {
    const PickleId id = top();
    stack_.pop_back();
    return id;
  }
  std::vector<PickleId> last(size_t count) {
    if (stack_.size() < floor() + count) refuse("it takes from an empty stack");
    std::vector<PickleId> items(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }
  std::vector<PickleId> since_mark() {
    if (marks_.empty()) refuse("it closes what was never opened");
    auto items = last(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  bool remember(uint32_t index) {
    if (memo_.size() >= kMaxNodes) refuse("it remembers more than 2^20 values");
    memo_[index] = top();
    return true;
  }
  bool recall(uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) refuse("it recalls a value that it never stored");
    return push(found->second);
  }

  template <typename Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view take(uint64_t length) {
    if (length > bytes_.size() - position_) truncated();
    const std::string_view taken(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
    position_ += length;
    return taken;
  }
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_, bytes_.size() - position_);
    const size_t end = rest.substr(0, kMaxGlobalName + 1).find('\n');
    if (end == std::string_view::npos) refuse("it names a class by an endless text");
    position_ += end + 1;
    return rest.substr(0, end);
  }

  [[noreturn]] void unknown(uint8_t opcode) {
    refuse("instruction " + std::to_string(opcode) + " at byte " + std::to_string(position_ - 1) +
           " is not one that state dictionaries need");
  }
  [[noreturn]] void truncated() { refuse("it ends in the middle, or a length in it is longer than the file"); }
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(Exit::bad_data, name_ + ": not a readable pickle: " + what + "; fetch or save the file again");
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
  const GlobalPolicy& allowed_;
  size_t position_ = 0;
  Pickle out_;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleId> memo_;
};

}  // namespace

Pickle parse_pickle(std::span<const std::byte> bytes, const std::string& name, const GlobalPolicy& allowed) {
  return Machine(bytes, name, allowed).run();
}

}  // namespace melflow::files
