#include "engine/files/pickle.h"

#include <bit>
#include <cstring>

#include "base/error.h"
#include "engine/files/pickle_opcodes.h"
#include "engine/files/pickle_stack.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

constexpr size_t kMaxInstructions = size_t{1} << 23;

class Machine : private PickleStack {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& name, const GlobalPolicy& allowed)
      : PickleStack(name), in_(bytes, name), name_(name), allowed_(allowed) {}

  Pickle run() {
    for (size_t count = 0; count < kMaxInstructions; ++count) {
      const auto opcode = in_.number<uint8_t>();
      if (opcode == kStop) return finish(in_.position());
      if (!(scalar(opcode) || text(opcode) || container(opcode) || memo(opcode) || object(opcode))) unknown(opcode);
    }
    refuse("it has more than 2^23 instructions");
  }

 private:
  bool scalar(uint8_t opcode) {
    switch (opcode) {
      case kProto: {
        const auto version = in_.number<uint8_t>();
        if (version < 2 || version > 5) refuse("protocol " + std::to_string(version) + " is not one of 2 to 5");
        return true;
      }
      case kFrame:
        if (in_.number<uint64_t>() > in_.left()) in_.truncated();
        return true;
      case kNoneOp:
        return push(kNone);
      case kNewtrue:
        return push(kTrue);
      case kNewfalse:
        return push(kFalse);
      case kBinint:
        return integer(in_.number<int32_t>());
      case kBinint1:
        return integer(in_.number<uint8_t>());
      case kBinint2:
        return integer(in_.number<uint16_t>());
      case kLong1:
        return long_integer(in_.take(in_.number<uint8_t>()));
      case kLong4: {
        const auto length = in_.number<int32_t>();
        if (length < 0) refuse("it holds an integer of negative length");
        return long_integer(in_.take(static_cast<uint64_t>(length)));
      }
      case kBinfloat: {
        make(PickleKind::real).real = std::bit_cast<double>(__builtin_bswap64(in_.number<uint64_t>()));
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
        return string(PickleKind::text, in_.number<uint8_t>());
      case kBinunicode:
        return string(PickleKind::text, in_.number<uint32_t>());
      case kBinunicode8:
        return string(PickleKind::text, in_.number<uint64_t>());
      case kBinstring: {
        const auto length = in_.number<int32_t>();
        if (length < 0) refuse("it holds a string of negative length");
        return string(PickleKind::text, static_cast<uint64_t>(length));
      }
      case kShortBinbytes:
        return string(PickleKind::bytes, in_.number<uint8_t>());
      case kBinbytes:
        return string(PickleKind::bytes, in_.number<uint32_t>());
      case kBinbytes8:
      case kBytearray8:
        return string(PickleKind::bytes, in_.number<uint64_t>());
      default:
        return false;
    }
  }

  bool container(uint8_t opcode) {
    switch (opcode) {
      case kMark:
        mark();
        return true;
      case kPop:
        discard_top();
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
        return remember(in_.number<uint8_t>());
      case kLongBinput:
        return remember(in_.number<uint32_t>());
      case kMemoize:
        return remember(memo_size());
      case kBinget:
        return recall(in_.number<uint8_t>());
      case kLongBinget:
        return recall(in_.number<uint32_t>());
      default:
        return false;
    }
  }

  bool object(uint8_t opcode) {
    switch (opcode) {
      case kGlobal: {
        const auto module = in_.line(), symbol = in_.line();
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
    if (module.empty() || symbol.empty() || module.size() + symbol.size() > kMaxPickleGlobal) {
      refuse("it names a class by an empty or endless text");
    }
    const auto& known = name_global(module, symbol);
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
    const auto content = in_.take(length);
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

  [[noreturn]] void unknown(uint8_t opcode) {
    refuse("instruction " + std::to_string(opcode) + " at byte " + std::to_string(in_.position() - 1) +
           " is not one that state dictionaries need");
  }
  [[noreturn]] void refuse(const std::string& what) const { refuse_pickle(name_, what); }

  PickleInput in_;
  const std::string& name_;
  const GlobalPolicy& allowed_;
};

}  // namespace

Pickle parse_pickle(std::span<const std::byte> bytes, const std::string& name, const GlobalPolicy& allowed) {
  return Machine(bytes, name, allowed).run();
}

}  // namespace melflow::files
