// The simulated disk's claims: what it reads, what faults do, what a power cut may leave.
#include "testing/simulated_disk.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace ashlar {
namespace {

constexpr uint64_t kUnit = SimulatedDisk::kUnit;

std::vector<std::byte> filled(size_t size, char value) {
  return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

void write(SimulatedDisk& disk, uint64_t offset, const std::vector<std::byte>& data) {
  ASSERT_TRUE(disk.write({offset, data.size()}, ConstBuffers(data.data(), data.size())));
}

/// One character per unit: what it is filled with, '.' for zeroes, '?' for a mixture.
std::string picture(const SparseBytes& content) {
  std::string text;
  std::vector<std::byte> unit(kUnit);
  for (uint64_t offset = 0; offset < content.size(); offset += kUnit) {
    content.read(offset, unit);
    const bool even = std::vector<std::byte>(kUnit, unit[0]) == unit;
    text += !even ? '?' : unit[0] == std::byte{0} ? '.' : static_cast<char>(unit[0]);
  }
  return text;
}

TEST(SimulatedDisk, ReadsWhatWasWrittenAndZeroesElsewhere) {
  SimulatedDisk disk(8 * kUnit);
  write(disk, kUnit, filled(2 * kUnit, 'a'));
  EXPECT_EQ(picture(disk.content()), ".aa.....");
}

TEST(SimulatedDisk, AWritePastTheEndGrowsAndAShrinkForgets) {
  SimulatedDisk disk(kUnit);
  write(disk, 3 * kUnit, filled(kUnit, 'a'));
  EXPECT_EQ(disk.size(), 4 * kUnit);
  ASSERT_TRUE(disk.resize(2 * kUnit));
  ASSERT_TRUE(disk.resize(4 * kUnit));
  EXPECT_EQ(picture(disk.content()), "....");
}

TEST(SimulatedDisk, HoldsTebibytesSparsely) {
  SimulatedDisk disk(1_TiB);
  write(disk, 512_GiB, filled(kUnit, 'a'));
  ASSERT_TRUE(disk.write_zeroes({1, 1_TiB - 2}));
  EXPECT_EQ(disk.content(), SparseBytes(1_TiB));
  const SparseBytes::Run run = disk.content().run_at({0, 1_TiB});
  EXPECT_EQ(run.length, 1_TiB);
  EXPECT_FALSE(run.has_pages);
}

TEST(SimulatedDisk, RunsEndWherePagesBegin) {
  SparseBytes bytes(64_KiB);
  bytes.write(8192, filled(8192, 'a'));
  EXPECT_EQ(bytes.run_at({0, 64_KiB}).length, 8192u);
  EXPECT_EQ(bytes.run_at({9000, 64_KiB - 9000}).length, 16384u - 9000);
  EXPECT_TRUE(bytes.run_at({9000, 10}).has_pages);
  EXPECT_EQ(bytes.run_at({16384, 100}).length, 100u);
}

TEST(SimulatedDisk, ACopyIsIndependent) {
  SparseBytes first(8192);
  first.write(0, filled(100, 'a'));
  SparseBytes second = first;
  second.write(50, filled(1, 'b'));
  EXPECT_EQ(first.first_difference(second), 50u);
  second = first;
  EXPECT_EQ(first, second);
}

TEST(SimulatedDisk, TheNthRequestFailsAndOnlyThat) {
  SimulatedDisk disk(8 * kUnit);
  disk.fail({.kind = DiskRequest::kWrite, .after = 1, .os_error = ENOSPC});
  write(disk, 0, filled(kUnit, 'a'));
  const auto data = filled(kUnit, 'b');
  const Result<void> second = disk.write({0, kUnit}, ConstBuffers(data.data(), kUnit));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kNoSpace);
  write(disk, kUnit, filled(kUnit, 'c'));
  EXPECT_EQ(picture(disk.content()), "ac......");
  EXPECT_EQ(disk.count(DiskRequest::kWrite), 3u);
}

TEST(SimulatedDisk, AFaultCanLastAndHitHalfway) {
  SimulatedDisk disk(4 * kUnit);
  disk.fail({.kind = DiskRequest::kWrite,
             .repeat = SimulatedDisk::Fault::Repeat::kForEver,
             .effect = SimulatedDisk::Fault::Effect::kFirstHalf});
  const auto data = filled(4 * kUnit, 'a');
  EXPECT_FALSE(disk.write({0, data.size()}, ConstBuffers(data.data(), data.size())));
  EXPECT_FALSE(disk.write({0, data.size()}, ConstBuffers(data.data(), data.size())));
  EXPECT_EQ(picture(disk.content()), "aa..");
  disk.heal();
  write(disk, 0, data);
}

/// All contents that power cuts at the end of the log can leave, as pictures.
std::set<std::string> outcomes(const SimulatedDisk& disk, unsigned seeds = 200) {
  std::set<std::string> seen;
  const size_t point = disk.events();
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    seen.insert(picture(disk.after({point, PowerCut::Rule::kSeeded, seed})));
  }
  return seen;
}

TEST(SimulatedDiskPowerCut, AFlushedWriteStays) {
  SimulatedDisk disk(2 * kUnit);
  write(disk, 0, filled(kUnit, 'a'));
  ASSERT_TRUE(disk.flush());
  EXPECT_EQ(outcomes(disk), std::set<std::string>{"a."});
}

TEST(SimulatedDiskPowerCut, AnUnflushedWriteMayBeTornInUnits) {
  SimulatedDisk disk(2 * kUnit);
  write(disk, 0, filled(2 * kUnit, 'a'));
  const std::set<std::string> all = {"..", "a.", ".a", "aa"};
  EXPECT_EQ(outcomes(disk), all);
}

TEST(SimulatedDiskPowerCut, ALaterWriteMaySurviveAnEarlierOne) {
  SimulatedDisk disk(2 * kUnit);
  write(disk, 0, filled(kUnit, 'a'));
  write(disk, kUnit, filled(kUnit, 'b'));
  EXPECT_TRUE(outcomes(disk).contains(".b"));
  const size_t point = disk.events();
  EXPECT_EQ(disk.unsettled(point), 2u);
  EXPECT_EQ(picture(disk.after({point, PowerCut::Rule::kAllButOne, 0})), ".b");
  EXPECT_EQ(picture(disk.after({point, PowerCut::Rule::kOnlyOne, 0})), "a.");
  EXPECT_EQ(picture(disk.after({point, PowerCut::Rule::kNoneSurvives, 0})), "..");
  EXPECT_EQ(picture(disk.after({point, PowerCut::Rule::kAllSurvive, 0})), "ab");
}

TEST(SimulatedDiskPowerCut, AnOverwriteNeverGoesBackBehindAFlush) {
  SimulatedDisk disk(kUnit);
  write(disk, 0, filled(kUnit, 'a'));
  write(disk, 0, filled(kUnit, 'b'));
  ASSERT_TRUE(disk.flush());
  write(disk, 0, filled(kUnit, 'c'));
  const std::set<std::string> all = {"b", "c"};
  EXPECT_EQ(outcomes(disk), all);
}

TEST(SimulatedDiskPowerCut, AFlushCoversOnlyWhatHadFinishedWhenItBegan) {
  SimulatedDisk disk(kUnit);
  const auto data = filled(kUnit, 'a');
  const auto write_id = disk.begin_write({0, kUnit}, ConstBuffers(data.data(), kUnit));
  const auto flush_id = disk.begin_flush();
  ASSERT_TRUE(disk.finish(write_id));
  ASSERT_TRUE(disk.finish(flush_id));
  const std::set<std::string> all = {".", "a"};
  EXPECT_EQ(outcomes(disk), all);
}

TEST(SimulatedDiskPowerCut, AFailedFlushMakesNothingDurable) {
  SimulatedDisk disk(kUnit);
  write(disk, 0, filled(kUnit, 'a'));
  disk.fail({.kind = DiskRequest::kFlush});
  EXPECT_FALSE(disk.flush());
  EXPECT_TRUE(outcomes(disk).contains("."));
}

TEST(SimulatedDiskPowerCut, AWriteInFlightMayHaveHappened) {
  SimulatedDisk disk(kUnit);
  const auto data = filled(kUnit, 'a');
  disk.begin_write({0, kUnit}, ConstBuffers(data.data(), kUnit));
  EXPECT_EQ(picture(disk.content()), ".");
  const std::set<std::string> all = {".", "a"};
  EXPECT_EQ(outcomes(disk), all);
}

TEST(SimulatedDiskPowerCut, AForcedWriteStaysAndHidesWhatItOverwrote) {
  SimulatedDisk disk(2 * kUnit);
  write(disk, 0, filled(2 * kUnit, 'a'));
  const auto data = filled(kUnit, 'b');
  const auto id = disk.begin_write({0, kUnit}, ConstBuffers(data.data(), kUnit),
                                   SimulatedDisk::Durable::kWhenFinished);
  ASSERT_TRUE(disk.finish(id));
  const std::set<std::string> all = {"b.", "ba"};
  EXPECT_EQ(outcomes(disk), all);
}

TEST(SimulatedDiskPowerCut, EveryPointOfTheLogIsVisited) {
  SimulatedDisk disk(4 * kUnit);
  write(disk, 0, filled(kUnit, 'a'));
  write(disk, kUnit, filled(kUnit, 'b'));
  ASSERT_TRUE(disk.flush());
  write(disk, 0, filled(kUnit, 'c'));
  std::set<std::string> seen;
  disk.for_each_power_cut(4, 1, [&seen](const PowerCut& cut, const SparseBytes& content) {
    seen.insert(picture(content));
    EXPECT_FALSE(cut.describe().empty());
  });
  const std::set<std::string> all = {"....", "a...", ".b..", "ab..", "cb.."};
  EXPECT_EQ(seen, all);
}

}  // namespace
}  // namespace ashlar
