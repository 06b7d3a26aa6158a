// Limits as options: what is taken, and what makes no sense.
#include <gtest/gtest.h>

#include <algorithm>

#include "ashlar/throttle.h"

namespace ashlar {
namespace {

/// The reason why `text` is refused as limits, or nothing.
std::string refusal(std::string_view text) {
  Result<OptionDict> dict =
      text.starts_with('{') ? OptionDict::parse_json(text) : OptionDict::parse_key_value(text);
  ThrottleLimits limits;
  Result<void> done = limits.take(*dict);
  if (done) done = limits.check();
  return done ? "" : std::string(done.error().reason());
}

TEST(ThrottleLimits, AreTakenByNameAndPrefix) {
  OptionDict dict = *OptionDict::parse_key_value(
      "x-iops-total=5,x-iops-total-max=9,x-iops-total-max-length=3,x-bps-read=7,x-iops-size=512,y="
      "1");
  ThrottleLimits limits;
  ASSERT_TRUE(limits.take(dict, "x-"));
  EXPECT_EQ(limits.rates[ThrottleLimits::kRequestsTotal], (ThrottleLimits::Rate{5, 9, 3}));
  EXPECT_EQ(limits.rates[ThrottleLimits::kBytesRead].average, 7u);
  EXPECT_EQ(limits.request_size, 512u);
  EXPECT_EQ(dict.entries().size(), 1u);
  EXPECT_TRUE(limits.check());
  const auto entries = limits.entries();
  const std::pair<std::string, uint64_t> given("iops-total-max-length", 3);
  const std::pair<std::string, uint64_t> left("bps-write-max-length", 1);
  EXPECT_NE(std::ranges::find(entries, given), entries.end());
  EXPECT_NE(std::ranges::find(entries, left), entries.end());
  EXPECT_EQ(entries.size(), 19u);
  // What is not named stays.
  OptionDict change = *OptionDict::parse_key_value("iops-total=6");
  ASSERT_TRUE(limits.take(change));
  EXPECT_EQ(limits.rates[ThrottleLimits::kRequestsTotal], (ThrottleLimits::Rate{6, 9, 3}));
}

TEST(ThrottleLimits, AreRefusedWhenTheyContradictEachOther) {
  EXPECT_EQ(refusal("iops-total=100,bps-read=10"), "");
  EXPECT_EQ(refusal("iops-total=100,iops-read=10"), "throttle-total-and-one");
  EXPECT_EQ(refusal("bps-total=100,bps-write=10"), "throttle-total-and-one");
  EXPECT_EQ(refusal("bps-total-max=100"), "throttle-burst-without-average");
  EXPECT_EQ(refusal("bps-total=100,bps-total-max=50"), "throttle-burst-low");
  EXPECT_EQ(refusal("bps-total=100,bps-total-max-length=5"), "throttle-length-without-burst");
  EXPECT_EQ(refusal("bps-total=100,bps-total-max=200,bps-total-max-length=0"),
            "throttle-length-zero");
  EXPECT_EQ(refusal("bps-total=100,bps-total-max=1000000000000000,bps-total-max-length=2"),
            "throttle-length-high");
  EXPECT_EQ(refusal("iops-size=4096"), "throttle-size-alone");
  EXPECT_EQ(refusal("iops-size=4096,iops-write=1"), "");
}

TEST(ThrottleLimits, AreWholeNumbersInRange) {
  EXPECT_EQ(refusal("bps-total=1000000000000000"), "");
  EXPECT_EQ(refusal("bps-total=1000000000000001"), "throttle-range");
  EXPECT_EQ(refusal(R"({"bps-total":-1})"), "throttle-range");
  EXPECT_EQ(refusal(R"({"bps-total":"x"})"), "throttle-type");
  EXPECT_EQ(refusal(R"({"bps-total":true})"), "throttle-type");
  EXPECT_EQ(refusal("bps-total=10k"), "throttle-type");
  EXPECT_EQ(refusal("bps-total=1,bps-total-max=2,bps-total-max-length=4294967296"),
            "throttle-length-range");
}

}  // namespace
}  // namespace ashlar
