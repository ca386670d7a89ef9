#include "engine/files/sha256.h"

#include <gtest/gtest.h>

#include "tests/files/bytes.h"

namespace melflow::files {
namespace {

using testing::bytes_of;

TEST(Sha256, GivesThePublishedDigests) {
  // FIPS 180-4 examples and the empty message
  EXPECT_EQ(sha256_hex({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(bytes_of("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(bytes_of(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesOfAnySizeGiveTheSameDigest) {
  std::string message;
  for (int i = 0; i < 300; ++i) message += static_cast<char>(i * 7);
  for (size_t length : {size_t{55}, size_t{56}, size_t{63}, size_t{64}, size_t{65}, size_t{119}, message.size()}) {
    const std::string part = message.substr(0, length);
    for (size_t piece : {size_t{1}, size_t{7}, size_t{63}, size_t{64}, size_t{65}}) {
      Sha256 hash;
      for (size_t at = 0; at < length; at += piece) hash.update(bytes_of(part.substr(at, piece)));
      EXPECT_EQ(hash.hex(), sha256_hex(bytes_of(part))) << length << " in pieces of " << piece;
    }
  }
}

}  // namespace
}  // namespace melflow::files
