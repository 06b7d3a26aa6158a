// The flat model's claims, and that it agrees with the simulated disk about every power cut.
#include "testing/flat_model.h"

#include <gtest/gtest.h>

#include <vector>

#include "testing/seeded_random.h"
#include "testing/simulated_disk.h"

namespace ashlar {
namespace {

using Outcome = FlatModel::Outcome;

std::vector<std::byte> filled(size_t size, char value) {
  return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

TEST(FlatModel, AcceptsTheLastWriteAndNothingElse) {
  FlatModel model(4096);
  model.write({100, 1000}, filled(1000, 'a'));
  EXPECT_EQ(model.mismatch(100, filled(1000, 'a')), std::nullopt);
  EXPECT_EQ(model.mismatch(100, filled(1001, 'a')), 1024u);  // the unit that holds the wrong byte
  EXPECT_EQ(model.mismatch(0, filled(100, '\0')), std::nullopt);
  EXPECT_EQ(model.expected({100, 1000}), filled(1000, 'a'));
}

TEST(FlatModel, AFailedWriteMayHaveHappenedUntilItIsOverwritten) {
  FlatModel model(512);
  model.write({0, 512}, filled(512, 'a'));
  const auto failed = model.begin_write({0, 512}, filled(512, 'b'));
  model.finish(failed, Outcome::kFailed);
  EXPECT_EQ(model.mismatch(0, filled(512, 'a')), std::nullopt);
  EXPECT_EQ(model.mismatch(0, filled(512, 'b')), std::nullopt);
  model.write({0, 512}, filled(512, 'c'));
  EXPECT_EQ(model.mismatch(0, filled(512, 'b')), 0u);
  EXPECT_EQ(model.mismatch(0, filled(512, 'a')), 0u);
}

TEST(FlatModel, ADiscardLeavesTheOldOrZeroes) {
  FlatModel model(512);
  model.write({0, 512}, filled(512, 'a'));
  model.discard({0, 512});
  EXPECT_EQ(model.mismatch(0, filled(512, 'a')), std::nullopt);
  EXPECT_EQ(model.mismatch(0, filled(512, '\0')), std::nullopt);
  EXPECT_EQ(model.mismatch(0, filled(512, 'b')), 0u);
}

TEST(FlatModel, AfterAPowerCutAnUnflushedWriteMayBeGoneAndAFlushedOneNot) {
  FlatModel model(512);
  model.write({0, 512}, filled(512, 'a'));
  EXPECT_EQ(model.mismatch_after_power_cut(0, filled(512, '\0')), std::nullopt);
  model.flush();
  EXPECT_EQ(model.mismatch_after_power_cut(0, filled(512, '\0')), 0u);
  EXPECT_EQ(model.mismatch_after_power_cut(0, filled(512, 'a')), std::nullopt);
  model.write({0, 512}, filled(512, 'b'));
  EXPECT_EQ(model.mismatch_after_power_cut(0, filled(512, 'a')), std::nullopt);
  EXPECT_EQ(model.mismatch_after_power_cut(0, filled(512, 'b')), std::nullopt);
}

TEST(FlatModel, AFlushThatBeganBeforeAWriteFinishedDoesNotCoverIt) {
  FlatModel model(512);
  const auto write = model.begin_write({0, 512}, filled(512, 'a'));
  const auto flush = model.begin_flush();
  model.finish(write);
  model.finish(flush);
  EXPECT_EQ(model.mismatch_after_power_cut(0, filled(512, '\0')), std::nullopt);
}

TEST(FlatModel, ShrinkingForgets) {
  FlatModel model(4096);
  model.write({0, 4096}, filled(4096, 'a'));
  model.resize(700);
  model.resize(4096);
  EXPECT_EQ(model.mismatch(0, filled(700, 'a')), std::nullopt);
  EXPECT_EQ(model.mismatch(700, filled(3396, '\0')), std::nullopt);
}

/// One random request on both. Requests of whole units, so that tearing is the same in both.
void step(SeededRandom& random, SimulatedDisk& disk, FlatModel& model) {
  const uint64_t units = model.size() / FlatModel::kUnit;
  const uint64_t first = random.below(units);
  const ByteRange range = {first * FlatModel::kUnit,
                           random.between(1, units - first) * FlatModel::kUnit};
  if (random.one_in(4)) {
    ASSERT_TRUE(disk.flush());
    model.flush();
  } else if (random.one_in(4)) {
    ASSERT_TRUE(disk.write_zeroes(range));
    model.zero(range);
  } else {
    const auto data = filled(range.length, static_cast<char>(random.between(1, 100)));
    ASSERT_TRUE(disk.write(range, ConstBuffers(data.data(), data.size())));
    model.write(range, data);
  }
}

TEST(FlatModel, AllowsEveryPowerCutOfTheSimulatedDisk) {
  constexpr uint64_t kSize = 16 * FlatModel::kUnit;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SeededRandom random(seed);
    SimulatedDisk disk(kSize);
    FlatModel model(kSize);
    for (int request = 0; request < 20; ++request) {
      step(random, disk, model);
      const PowerCut cut = {disk.events(), PowerCut::Rule::kSeeded, random.next()};
      std::vector<std::byte> content(kSize);
      disk.after(cut).read(0, content);
      ASSERT_EQ(model.mismatch_after_power_cut(0, content), std::nullopt)
          << "seed " << seed << ", " << cut.describe();
      disk.content().read(0, content);
      ASSERT_EQ(model.mismatch(0, content), std::nullopt) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace ashlar
