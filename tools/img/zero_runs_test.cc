// Claims about finding zeroes in data.
#include "tools/img/zero_runs.h"

#include <gtest/gtest.h>

#include <vector>

namespace ashlar::tools {
namespace {

std::vector<std::byte> bytes_with(size_t size, std::initializer_list<size_t> ones) {
  std::vector<std::byte> bytes(size);
  for (const size_t at : ones) bytes[at] = std::byte{1};
  return bytes;
}

std::vector<ZeroRun> runs_of(const std::vector<std::byte>& bytes, size_t block) {
  std::vector<ZeroRun> all;
  ZeroRuns runs(bytes, block);
  while (const auto run = runs.next()) all.push_back(*run);
  return all;
}

TEST(ZeroRuns, GivesOneRunForZeroesAndOneForData) {
  const auto zero = runs_of(bytes_with(16384, {}), 4096);
  ASSERT_EQ(zero.size(), 1u);
  EXPECT_TRUE(zero[0].zero);
  EXPECT_EQ(zero[0].length, 16384u);
  const auto data = runs_of(bytes_with(8192, {0, 8191}), 4096);
  ASSERT_EQ(data.size(), 1u);
  EXPECT_FALSE(data[0].zero);
}

TEST(ZeroRuns, SplitsAtBlocksOnly) {
  const auto runs = runs_of(bytes_with(16384, {5000}), 4096);
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[1].offset, 4096u);
  EXPECT_EQ(runs[1].length, 4096u);
  EXPECT_FALSE(runs[1].zero);
  EXPECT_EQ(runs[2].length, 8192u);
  EXPECT_TRUE(runs[2].zero);
}

TEST(ZeroRuns, JudgesAShortLastBlockByWhatThereIs) {
  const auto runs = runs_of(bytes_with(4096 + 10, {0}), 4096);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[1].length, 10u);
  EXPECT_TRUE(runs[1].zero);
}

TEST(ZeroRuns, TakesEverythingAsDataWhenAskedTo) {
  const auto runs = runs_of(bytes_with(10000, {}), 0);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_FALSE(runs[0].zero);
  EXPECT_EQ(runs[0].length, 10000u);
}

TEST(ZeroRuns, GivesNothingForNothing) { EXPECT_TRUE(runs_of({}, 4096).empty()); }

}  // namespace
}  // namespace ashlar::tools
