// Claims about sizes and counts as people type them.
#include <gtest/gtest.h>

#include "ashlar/bytes.h"
#include "ashlar/options.h"

namespace ashlar {
namespace {

std::string reason_of(const Result<uint64_t>& parsed) {
  return parsed ? "parsed" : std::string(parsed.error().reason());
}

TEST(Size, ReadsEverySuffixInBothCases) {
  const std::pair<const char*, uint64_t> cases[] = {
      {"7", 7},      {"7b", 7},        {"7B", 7},        {"1k", 1_KiB},      {"1K", 1_KiB},
      {"2m", 2_MiB}, {"2M", 2_MiB},    {"3g", 3_GiB},    {"3G", 3_GiB},      {"4t", 4_TiB},
      {"4T", 4_TiB}, {"1p", 1024_TiB}, {"1P", 1024_TiB}, {"1e", 1ull << 60}, {"15E", 15ull << 60}};
  for (const auto& [text, bytes] : cases) EXPECT_EQ(parse_size(text), bytes) << text;
}

TEST(Size, RoundsAFractionOfAUnitToTheNearestByte) {
  EXPECT_EQ(parse_size("1.5G"), 1536_MiB);
  EXPECT_EQ(parse_size("0.1k"), 102u);
  EXPECT_EQ(parse_size("3.14159M"), 3294196u);
  EXPECT_EQ(parse_size("1.00048828125k"), 1025u);
  EXPECT_EQ(parse_size("0.0000001k"), 0u);
  EXPECT_EQ(parse_size("1.k"), 1024u);
  EXPECT_EQ(parse_size("15.9E"), 18331451923248866944u);
}

TEST(Size, TakesNoPartOfAByte) {
  EXPECT_EQ(reason_of(parse_size("1.5")), "size-syntax");
  EXPECT_EQ(reason_of(parse_size("1.5b")), "size-syntax");
  EXPECT_EQ(parse_size("1.0"), 1u);
  EXPECT_EQ(parse_size("1."), 1u);
  EXPECT_EQ(parse_size("1.000b"), 1u);
}

TEST(Size, ReadsBAndEOfAHexNumberAsDigits) {
  EXPECT_EQ(parse_size("0x10"), 16u);
  EXPECT_EQ(parse_size("0X1b"), 27u);
  EXPECT_EQ(parse_size("0x1e"), 30u);
  EXPECT_EQ(parse_size("0x10M"), 16_MiB);
  EXPECT_EQ(reason_of(parse_size("0x1.8k")), "size-syntax");
  EXPECT_EQ(reason_of(parse_size("0x")), "size-syntax");
}

TEST(Size, ReadsALeadingZeroAsDecimal) { EXPECT_EQ(parse_size("010"), 10u); }

TEST(Size, TellsTooLargeFromMalformed) {
  for (const char* text : {"16E", "18446744073709551616", "12345678901234567890k",
                           "0xfffffffffffffffff", "18014398509481984k"}) {
    EXPECT_EQ(reason_of(parse_size(text)), "size-range") << text;
  }
  for (const char* text :
       {"",    " ", "-1",     "-0",  "1e3", "1e3k", "1kb", "1KiB", "1 ",  "1 k", "k",
        ".5k", ".", "1.5.5k", "nan", "inf", "1x",   "1,5", "--1",  "++1", "+-1"}) {
    EXPECT_EQ(reason_of(parse_size(text)), "size-syntax") << text;
  }
}

TEST(Size, ReachesTheLargestNumber) {
  EXPECT_EQ(parse_size("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(parse_size("15.9999999999999E"), 18446744073709436288u);
}

TEST(Size, IgnoresBlanksAndAPlusSignInFront) {
  EXPECT_EQ(parse_size(" 1"), 1u);
  EXPECT_EQ(parse_size("\t+1k"), 1024u);
}

TEST(Number, KnowsDecimalHexAndOctalAndNoSuffix) {
  EXPECT_EQ(parse_number("10"), 10u);
  EXPECT_EQ(parse_number("010"), 8u);
  EXPECT_EQ(parse_number("0x10"), 16u);
  EXPECT_EQ(parse_number("0"), 0u);
  EXPECT_EQ(parse_number("18446744073709551615"), UINT64_MAX);
  for (const char* text : {"", "1k", "1.0", "-1", "08", "0x", "18446744073709551616", "1 "}) {
    EXPECT_EQ(reason_of(parse_number(text)), "number-syntax") << text;
  }
}

}  // namespace
}  // namespace ashlar
