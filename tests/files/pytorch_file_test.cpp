#include "engine/files/pytorch_file.h"

#include <algorithm>

#include "engine/files/checkpoint_file.h"
#include "engine/files/pytorch_writer.h"
#include "tests/files/checkpoints.h"
#include "tests/support/shared.h"

namespace melflow::files {
namespace {

using namespace melflow::testing;

const std::string kSix = floats({0, 1, 2, 3, 4, 5});

PytorchContent parsed_file(const std::string& file) { return parse_pytorch(kept_bytes_of(file), "x.pt"); }
void refused_file(const std::string& file, const std::string& why) {
  expect_refused([&] { parsed_file(file); }, Exit::bad_data, "x.pt", why);
}
std::vector<float> values(const PytorchContent& content, size_t i = 0) {
  Arrays made;
  return as_float32(in_c_order(content.tensors.at(i).second, made), "x.pt");
}
std::string dict_of(const std::string& key, const std::string& value) { return "}" + pickled_text(key) + value + "s"; }
/// A pickle of a protocol; those from 4 on come in a frame.
std::string pickle_of(const std::string& body, char protocol) {
  const auto frame = protocol < 4 ? "" : "\x95" + little_endian(static_cast<uint64_t>(body.size() + 1));
  return std::string("\x80") + protocol + frame + body + ".";
}
std::string legacy(const std::string& object, const std::vector<std::pair<std::string, std::string>>& storages,
                   bool little = true, char protocol = 2) {
  std::string keys = "](";
  for (const auto& [key, content] : storages) keys += pickled_text(key);
  std::string file;
  for (const std::string& body :
       {std::string("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"), std::string("M\xe9\x03"),
        dict_of("little_endian", little ? "\x88" : "\x89"), object, keys + "e"}) {
    file += pickle_of(body, protocol);
  }
  for (const auto& [key, content] : storages) file += content;
  return file;
}

TEST(PytorchFile, ReadsBothContainers) {
  const auto pickle = dict_of("weight", pickled_tensor({}));
  for (const auto& file :
       {pytorch_zip(pickle, {{"0", kSix}}), legacy(pickle, {{"0", little_endian<uint64_t>(6) + kSix}})}) {
    const auto content = parsed_file(file);
    ASSERT_EQ(content.tensors.size(), 1u);
    EXPECT_EQ(content.tensors[0].first, "weight");
    EXPECT_EQ(content.tensors[0].second.shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(values(content), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  }
}

// torch.save(..., pickle_protocol=4): the magic number stands in a frame, as every pickle does from there on.
TEST(PytorchFile, ReadsLegacyFilesOfEveryProtocol) {
  for (const char protocol : {2, 3, 4, 5}) {
    const auto file = legacy(dict_of("weight", pickled_tensor({})), {{"0", little_endian<uint64_t>(6) + kSix}},
                             /*little=*/true, protocol);
    EXPECT_EQ(values(parsed_file(file)), (std::vector<float>{0, 1, 2, 3, 4, 5})) << int{protocol};
  }
}

TEST(PytorchFile, ReadsStridesOffsetsSharedStoragesAndScalars) {
  const std::string pickle = "}(" + pickled_text("transposed") + pickled_tensor({.shape = {3, 2}, .strides = {1, 3}}) +
                             pickled_text("tail") + pickled_tensor({.offset = 4, .shape = {2}, .strides = {1}}) +
                             pickled_text("scalar") + pickled_tensor({.offset = 5, .shape = {}, .strides = {}}) + "u";
  const auto content = parsed_file(pytorch_zip(pickle, {{"0", kSix}}));
  EXPECT_EQ(values(content, 0), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(values(content, 1), (std::vector<float>{4, 5}));
  EXPECT_EQ(values(content, 2), (std::vector<float>{5}));
}

TEST(PytorchFile, TurnsBigEndianNumbersRound) {
  std::string big = kSix;
  for (size_t i = 0; i < big.size(); i += 4)
    std::reverse(big.begin() + static_cast<long>(i), big.begin() + static_cast<long>(i) + 4);
  const auto pickle = pickled_tensor({});
  EXPECT_EQ(values(parsed_file(pytorch_zip(pickle, {{"0", big}}, "big"))), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  std::string count = little_endian<uint64_t>(6);
  std::reverse(count.begin(), count.end());
  EXPECT_EQ(values(parsed_file(legacy(pickle, {{"0", count + big}}, false))), (std::vector<float>{0, 1, 2, 3, 4, 5}));
}

TEST(PytorchFile, ShowsModulesAsTheirParametersAndFactsAndNeverADerivedTensor) {
  const std::string module = "(" + pickled_text("module") + "cglow\nWaveGlow\nNNtQ)\x81}(" +
                             pickled_text("_parameters") +
                             dict_of("weight_v", "ctorch._utils\n_rebuild_parameter\n(" + pickled_tensor({}) +
                                                     "\x88"
                                                     "ccollections\nOrderedDict\n)RtR") +
                             pickled_text("weight") + pickled_tensor({}) + pickled_text("n_group") + "K\x08" +
                             pickled_text("stride") + "(K\x04tub";
  const auto content = parsed_file(pytorch_zip(dict_of("model", module), {{"0", kSix}}));
  ASSERT_EQ(content.tensors.size(), 1u);
  EXPECT_EQ(content.tensors[0].first, "model.weight_v");
  EXPECT_EQ(content.facts.at("model.n_group"), "8");
  EXPECT_EQ(content.facts.at("model.stride.0"), "4");
  EXPECT_EQ(content.facts.at("model.__class__"), "glow.WaveGlow");
  EXPECT_FALSE(content.facts.contains("model.weight"));
}

/// As Python 2 writes what has letters in it.
std::string text_of_python2(const std::string& text) {
  return "U" + std::string(1, static_cast<char>(text.size())) + text;
}
std::string ordered_dict_of_python2(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string out = std::string("ccollections\nOrderedDict\n]") + (items.empty() ? "" : "(");
  for (const auto& [key, value] : items) out += "](" + text_of_python2(key) + value + "e";
  return out + (items.empty() ? "" : "e") + "\x85R";
}

TEST(PytorchFile, ReadsWhatPython2Wrote) {
  // {'state_dict': OrderedDict([['module.bias', tensor], …]), 'iteration': 7L}, with keys as byte strings and a
  // dictionary made of a list of pairs (CPython 2.7, Lib/collections.py: OrderedDict.__reduce__).
  const std::string storage = "(" + text_of_python2("storage") + "ctorch\nFloatStorage\n" + text_of_python2("0") +
                              text_of_python2("cuda:0") + "K\x06NtQ";
  const auto tensor = [&](const std::string& sizes) {
    return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + raw("K\x00") + sizes + "\x89" +
           ordered_dict_of_python2({}) + "tR";
  };
  const std::string table = ordered_dict_of_python2(
      {{"module.bias", tensor("K\x06\x85K\x01\x85")}, {"module.weight", tensor("K\x02K\x03\x86K\x03K\x01\x86")}});
  const std::string object =
      "}(" + text_of_python2("state_dict") + table + text_of_python2("iteration") + "\x8a\x01\x07u";
  const auto content = parsed_file(legacy(object, {{"0", little_endian<uint64_t>(6) + kSix}}));
  ASSERT_EQ(content.tensors.size(), 2u);
  EXPECT_EQ(content.tensors[0].first, "state_dict.module.bias");
  EXPECT_EQ(content.tensors[1].first, "state_dict.module.weight");
  EXPECT_EQ(content.tensors[1].second.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(values(content, 1), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(content.facts.at("iteration"), "7");
  refused_file(pytorch_zip("ccollections\nOrderedDict\n](K\x01K\x02"
                           "e\x85R",
                           {}),
               "no pair");
}

TEST(PytorchFile, RefusesTensorsThatDoNotFitTheirStorage) {
  const auto tensor = [](const PickledTensor& t) { return pytorch_zip(pickled_tensor(t), {{"0", kSix}}); };
  refused_file(tensor({.offset = 1}), "outside its storage");
  refused_file(tensor({.offset = -1}), "negative place");
  refused_file(tensor({.shape = {2, 4}, .strides = {3, 1}}), "outside its storage");
  refused_file(tensor({.shape = {2, 3}, .strides = {6, 1}}), "outside its storage");
  refused_file(tensor({.shape = {-2, 3}}), "negative size");
  refused_file(tensor({.strides = {-3, 1}}), "negative size or stride");
  refused_file(tensor({.shape = {1 << 30, 1 << 30, 1 << 30}, .strides = {0, 0, 0}}), "outside its storage");
  refused_file(tensor({.shape = {1000, 1000}, .strides = {0, 0}}), "more numbers than its storage");
  refused_file(tensor({.shape = {2}, .strides = {3, 1}}), "do not agree");
  refused_file(tensor({.count = 7}), "not the size");
  refused_file(tensor({.key = "1"}), "lacks storage");
  refused_file(tensor({.type = "ComplexFloatStorage"}), "'torch.ComplexFloatStorage'");
}

TEST(PytorchFile, RefusesWhatIsNoStateDictionaryByItsName) {
  refused_file(pytorch_zip("cargparse\nNamespace\n)\x81", {}), "'argparse.Namespace'");
  refused_file(pytorch_zip("cnumpy.core.multiarray\n_reconstruct\n)R", {}), "'numpy.core.multiarray._reconstruct'");
  refused_file(zip({{"m/data.pkl", "\x80\x02}."}, {"m/constants.pkl", "x"}}), "TorchScript");
  refused_file(zip({{"m/readme", "x"}}), "data.pkl");
  refused_file("\x80\x02}.", "Python pickle, but none that torch.save made");
  refused_file("not a checkpoint", "no PyTorch file");
  const auto seen = parse_pytorch(kept_bytes_of(pytorch_zip("cargparse\nNamespace\n)\x81", {})), "x.pt", Unknown::list);
  EXPECT_EQ(seen.refused, std::vector<std::string>{"argparse.Namespace"});
}

TEST(PytorchFile, RefusesEndlessTrees) {
  std::string deep = "]";
  for (int i = 0; i < 100; ++i) deep += "\x85";
  refused_file(pytorch_zip(deep, {}), "64 deep");
  // 2^40 paths through 40 lists of two.
  std::string wide = std::string("]q", 2) + '\0';
  for (char i = 1; i < 41; ++i) wide += std::string("](h") + char(i - 1) + "h" + char(i - 1) + "eq" + i;
  refused_file(pytorch_zip("(" + wide + "t", {}), "");
  const std::string itself(
      "]q\x00h\x00"
      "a",
      6);
  EXPECT_TRUE(parsed_file(pytorch_zip(itself, {})).tensors.empty());
}

TEST(PytorchFile, SurvivesEveryMutation) {
  const auto pickle = dict_of("weight", pickled_tensor({}));
  for (const auto& valid :
       {pytorch_zip(pickle, {{"0", kSix}}), legacy(pickle, {{"0", little_endian<uint64_t>(6) + kSix}})}) {
    EXPECT_GT(refused_mutants(valid, 20000,
                              [](const std::string& text) {
                                for (const auto& [name, tensor] : parse_pytorch(bytes_of(text), "mutant").tensors) {
                                  Arrays made;
                                  in_c_order(tensor, made);
                                }
                              }),
              1000);
  }
}

TEST(PytorchFile, ReadsWhatItWrites) {
  const TempDir folder;
  const std::string half("\x00\x3c\x00\x40", 4);
  write_state_dict(folder / "x.pt",
                   {{"a.b", {Dtype::f32, {2, 3}, bytes_of(kSix)}}, {"h", {Dtype::f16, {2}, bytes_of(half)}}},
                   AtomicFile::Existing::refuse);
  const CheckpointFile file(folder / "x.pt");
  Arrays made;
  EXPECT_EQ(text_of(in_c_order(file.content().tensors.at("a.b"), made).bytes), kSix);
  EXPECT_EQ(as_float32(in_c_order(file.content().tensors.at("h"), made), "x"), (std::vector<float>{1, 2}));
  const auto archive = contents(folder / "x.pt");
  EXPECT_EQ(archive.find(kSix) % 64, 0u);
}

TEST(Checkpoint, OpensANemoArchivePlainOrCompressed) {
  const auto weights = pytorch_zip(dict_of("waveglow.x", pickled_tensor({})), {{"0", kSix}});
  const auto archive =
      tar({{"./model_config.yaml", "preprocessor:\n  sample_rate: 22050\n"}, {"./model_weights.ckpt", weights}});
  const auto content = parse_checkpoint(bytes_of(archive), "x.nemo");
  EXPECT_EQ(content.tensors.count("waveglow.x"), 1u);
  EXPECT_EQ(content.facts.at("preprocessor.sample_rate"), "22050");
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string gz(deflateBound(&stream, archive.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(archive.data()));
  stream.avail_in = static_cast<uInt>(archive.size());
  stream.next_out = reinterpret_cast<Bytef*>(gz.data());
  stream.avail_out = static_cast<uInt>(gz.size());
  ASSERT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  gz.resize(stream.total_out);
  deflateEnd(&stream);
  EXPECT_EQ(parse_checkpoint(bytes_of(gz), "x.nemo").tensors.count("waveglow.x"), 1u);
  expect_refused([&] { parse_checkpoint(bytes_of(gz.substr(0, gz.size() / 2)), "x.nemo"); }, Exit::bad_data, "x.nemo",
                 "cut off");
}

TEST(Checkpoint, ReadsTheScalarsOfBlockYamlAndExpandsNothing) {
  const auto facts = yaml_scalars(
      "a: &x 1\nname: WaveGlow  # comment\npre:\n  rate: 22050\n  deep:\n    v: '8'\n  list:\n  - 3\nb: *x\nafter: "
      "null\n");
  EXPECT_EQ(facts, (std::map<std::string, std::string>{
                       {"name", "WaveGlow"}, {"pre.rate", "22050"}, {"pre.deep.v", "8"}, {"after", "null"}}));
}

TEST(Checkpoint, SaysWhatForeignFilesAre) {
  const auto refused_as = [](const std::string& text, const std::string& why) {
    expect_refused([&] { parse_checkpoint(bytes_of(text), "x"); }, Exit::bad_data, "x", why);
  };
  refused_as("\x89HDF\r\n\x1a\n", "HDF5");
  refused_as("\x08\x07\x12\x07pytorch", "ONNX");
  refused_as("GGUF....", "GGUF");
  refused_as("<!doctype html>", "web page");
  refused_as("RIFF....WAVE", "recording");
  refused_as(std::string(4096, 'x'), "no checkpoint");
}

TEST(Checkpoint, EveryHostileFileIsRefusedInOneLine) {
  REQUIRE_SHARED("reference/hostile_checkpoints");
  for (const auto& entry : std::filesystem::directory_iterator(shared("reference/hostile_checkpoints"))) {
    const auto path = entry.path().string();
    try {
      const CheckpointFile file(entry.path());
      // quadratic_bomb.pt is a list of itself: there is nothing in it to be refused but that it has no tensors.
      EXPECT_TRUE(file.content().tensors.empty()) << path;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::bad_data) << e.what();
      EXPECT_TRUE(std::string(e.what()).starts_with(path)) << e.what();
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace melflow::files
