// Claims about sizes as text.
#include "tools/common/size_text.h"

#include <gtest/gtest.h>

#include <string>

namespace ashlar::tools {
namespace {

TEST(HumanSize, HasThreeDigitsAndChangesUnitsAtAThousand) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(512), "512 B");
  EXPECT_EQ(human_size(1024), "1 KiB");
  EXPECT_EQ(human_size(1536), "1.5 KiB");
  EXPECT_EQ(human_size(1022976), "999 KiB");
  EXPECT_EQ(human_size(1023488), "1e+03 KiB");
  EXPECT_EQ(human_size(1024000), "0.977 MiB");
  EXPECT_EQ(human_size(1079296), "1.03 MiB");
  EXPECT_EQ(human_size(uint64_t{1} << 60), "1 EiB");
  EXPECT_EQ(human_size(UINT64_MAX), "16 EiB");
}

TEST(IoSize, HasUpToThreeDecimalsAndNoneWhenWhole) {
  EXPECT_EQ(io_size(0), "0 bytes");
  EXPECT_EQ(io_size(1023), "1023 bytes");
  EXPECT_EQ(io_size(960 << 10), "960 KiB");
  EXPECT_EQ(io_size(2032128), "1.938 MiB");
}

class SizeArgument : public testing::Test {
 protected:
  std::string complaint(std::string_view text) {
    testing::internal::CaptureStderr();
    EXPECT_FALSE(size_argument(program_, "image size", text).has_value()) << text;
    return testing::internal::GetCapturedStderr();
  }
  Program program_{"img", "img"};
};

TEST_F(SizeArgument, SaysWhichSizesThereAreWhenOneIsOutOfRange) {
  const std::string range =
      "img: Invalid image size specified. Must be between 0 and 9223372036854775807.\n";
  EXPECT_EQ(complaint("8E"), range);
  EXPECT_EQ(complaint("-1"), range);
  EXPECT_EQ(complaint("99999999999999999999"), range);
}

TEST_F(SizeArgument, QuotesWhatIsNoSize) {
  EXPECT_EQ(complaint("1Q"), "img: Invalid image size specified: '1Q'\n");
  EXPECT_EQ(complaint(""), "img: Invalid image size specified: ''\n");
}

TEST_F(SizeArgument, AcceptsTheLargestDevice) {
  EXPECT_EQ(size_argument(program_, "size", "9223372036854775807"), 9223372036854775807U);
}

TEST(CountArgument, HoldsACountToItsRange) {
  Program program("img", "img");
  testing::internal::CaptureStderr();
  EXPECT_EQ(count_argument(program, "count", "16", {1, 16}), 16U);
  EXPECT_FALSE(count_argument(program, "count", "17", {1, 16}).has_value());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "img: Invalid count specified. Must be between 1 and 16.\n");
}

}  // namespace
}  // namespace ashlar::tools
