#include "engine/files/pickle.h"

#include "tests/files/checkpoints.h"

namespace melflow::files {
namespace {

using namespace melflow::testing;

const GlobalPolicy kAnything = [](std::string_view) { return true; };
const GlobalPolicy kNothing = [](std::string_view) { return false; };

Pickle parsed(const std::string& text, const GlobalPolicy& allowed = kAnything) {
  return parse_pickle(kept_bytes_of(text), "x.pkl", allowed);
}
void refused(const std::string& text, const std::string& why, const GlobalPolicy& allowed = kAnything) {
  expect_refused([&] { parsed(text, allowed); }, Exit::bad_data, "x.pkl", why);
}

// Made by hand after pickle.dumps; pickletools.dis shows the same.
const std::string kProtocol2 =
    raw("\x80\x02}q\x00(X\x01\x00\x00\x00"
        "aq\x01]q\x02(K\x01J\xfe\xff\xff\xffG@\x0c\x00\x00\x00\x00\x00\x00N\x88"
        "eX\x02\x00\x00\x00\xc3\xbcq\x03\x8a\x06\x00\x00\x00\x00\x00\x01u.");
const std::string kProtocol4 =
    raw("\x80\x04\x95\x12\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01"
        "a\x94]\x94(K\x01\x8c\x01"
        "b\x94"
        "es.");

TEST(Pickle, ReadsPlainValuesOfProtocolTwo) {
  const auto p = parsed(kProtocol2);
  const auto& dict = p.at(p.root);
  ASSERT_EQ(dict.kind, PickleKind::dict);
  ASSERT_EQ(dict.items.size(), 4u);
  EXPECT_EQ(p.at(dict.items[0]).text, "a");
  const auto& list = p.at(dict.items[1]);
  ASSERT_EQ(list.items.size(), 5u);
  EXPECT_EQ(p.at(list.items[0]).integer, 1);
  EXPECT_EQ(p.at(list.items[1]).integer, -2);
  EXPECT_EQ(p.at(list.items[2]).real, 3.5);
  EXPECT_EQ(p.at(list.items[3]).kind, PickleKind::none);
  EXPECT_EQ(p.at(list.items[4]).integer, 1);
  EXPECT_EQ(p.at(dict.items[2]).text, "ü");
  EXPECT_EQ(p.at(dict.items[3]).integer, int64_t{1} << 40);
  EXPECT_EQ(p.length, kProtocol2.size());
}

TEST(Pickle, ReadsFramesAndMemosOfProtocolFour) {
  const auto p = parsed(kProtocol4 + "trailing bytes");
  EXPECT_EQ(p.length, kProtocol4.size());
  const auto& list = p.at(p.at(p.root).items[1]);
  EXPECT_EQ(p.at(list.items[1]).text, "b");
}

TEST(Pickle, KeepsAClassACallAndAnObjectAsNames) {
  const auto p =
      parsed(raw("\x80\x02"
                 "cos\nsystem\nX\x02\x00\x00\x00ls\x85R."));
  EXPECT_EQ(p.at(p.root).kind, PickleKind::call);
  EXPECT_EQ(p.at(p.at(p.root).callee).text, "os.system");
  EXPECT_EQ(p.at(p.at(p.at(p.root).arguments).items[0]).text, "ls");
  EXPECT_EQ(p.globals, std::set<std::string>{"os.system"});
  const std::string object(
      "\x80\x02"
      "cglow\nWaveGlow\n)\x81}b.",
      22);
  const auto q = parsed(object);
  EXPECT_EQ(q.at(q.root).kind, PickleKind::object);
  EXPECT_EQ(q.at(q.at(q.root).state).kind, PickleKind::dict);
}

TEST(Pickle, RefusesAForbiddenNameByThatName) {
  refused(
      "\x80\x02"
      "cos\nsystem\n.",
      "'os.system'", kNothing);
  refused("\x80\x04\x8c\x02os\x8c\x06system\x93.", "'os.system'", kNothing);
}

TEST(Pickle, RefusesDisorder) {
  refused("\x80\x02", "ends in the middle");
  refused("\x80\x09N.", "protocol 9");
  refused("\x80\x02.", "stack");
  refused("\x80\x02NN.", "stack");
  refused("\x80\x02(N.", "stack");
  refused("\x80\x02t.", "never opened");
  refused("\x80\x02N(0(\x85.", "empty stack");
  refused("\x80\x02}(Nu.", "key without a value");
  refused("\x80\x02h\x01.", "never stored");
  refused("\x80\x02NNR.", "no named class");
  refused(
      "\x80\x02"
      "cos\nsystem\nNR.",
      "no tuple");
  refused("\x80\x02NNa.", "holds none");
  refused("\x80\x02Pid\n.", "instruction 80");
  refused("\x80\x02X\xff\xff\xff\xff.", "longer than the file");
  refused("\x80\x02\x8b\xff\xff\xff\xff.", "negative length");
  refused(
      "\x80\x02"
      "c" +
          std::string(1000, 'a'),
      "endless");
}

TEST(Pickle, IsBoundedInValuesAndInstructions) {
  refused("\x80\x02" + std::string(3 << 20, ']'), "2^20 values");
  std::string idle("\x80\x02");
  for (int i = 0; i < (5 << 20); ++i) idle += "N0";
  refused(idle, "2^23 instructions");
}

TEST(Pickle, SurvivesEveryMutation) {
  for (const auto& valid : {kProtocol2, kProtocol4}) {
    EXPECT_GT(refused_mutants(valid, 20000,
                              [](const std::string& text) { parse_pickle(bytes_of(text), "mutant", kAnything); }),
              100);
  }
}

}  // namespace
}  // namespace melflow::files
