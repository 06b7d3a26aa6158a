// Claims about copying: every byte arrives, in any schedule, and every error is told.
#include "tools/img/copy_engine.h"

#include <gtest/gtest.h>

#include <map>

#include "tools/img/copy_world.h"

namespace ashlar::tools {
namespace {

constexpr uint64_t kSize = 200 * 512;

Task<void> run_engine(CopyEngine& engine) { co_await engine.run(); }

/// A source with data here and there, and a target that holds something else.
struct EngineWorld : CopyWorld {
  explicit EngineWorld(uint64_t seed, unsigned loops = 3) : CopyWorld(seed, loops) {
    const BackendRef image = add(kSize);
    target = add(kSize);
    scatter(0);
    EXPECT_TRUE(source.append(image));
    rules.unit = 4096;
    rules.piece = 8192;
  }

  std::optional<CopyFailure> copy() {
    CopyPlan plan(source, rules);
    CopyEngine engine({source, *target}, plan, settings);
    if (salvage != nullptr) engine.report_to(*salvage);
    sync_wait(runtime, run_engine(engine));
    return engine.failure();
  }

  bool same() const { return disks[0]->content() == disks[1]->content(); }

  CopySource source;
  BackendRef target;
  CopyRules rules;
  CopySettings settings;
  SalvageReport* salvage = nullptr;
};

TEST(CopyEngine, CopiesEveryByteInAnyScheduleAndOrder) {
  for (uint64_t seed = 0; seed < 60 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    EngineWorld world(seed, 1 + seed % 4);
    world.scatter(1);  // to be replaced, holes included
    world.settings.workers = 1 + seed % 9;
    world.settings.order = seed % 2 == 0 ? CopySettings::Order::kSource : CopySettings::Order::kAny;
    world.settings.zero_block = seed % 3 == 0 ? 0 : 4096;
    if (seed % 4 == 1) world.settings.writers = NodeInfo::Writers::kOne;
    if (seed % 3 == 0) world.rules.holes = CopyRules::Holes::kCopied;
    EXPECT_FALSE(world.copy());
    EXPECT_TRUE(world.same());
  }
}

TEST(CopyEngine, WritesNothingWhereATargetOfZeroesHasItAlready) {
  EngineWorld world(1);
  world.rules.holes = CopyRules::Holes::kSkipped;
  EXPECT_FALSE(world.copy());
  EXPECT_TRUE(world.same());
  EXPECT_EQ(world.disks[1]->count(DiskRequest::kZero), 0u);
}

TEST(CopyEngine, FailsWhicheverReadFails) {
  bool reached_the_end = false;
  for (uint64_t nth = 0; nth < 100 && !reached_the_end; ++nth) {
    SCOPED_TRACE(nth);
    EngineWorld world(5);
    world.disks[0]->fail({.kind = DiskRequest::kRead, .after = nth});
    const uint64_t before = world.disks[0]->count(DiskRequest::kRead);
    const auto failure = world.copy();
    reached_the_end = world.disks[0]->count(DiskRequest::kRead) - before <= nth;
    ASSERT_EQ(failure.has_value(), !reached_the_end);
    if (failure) {
      EXPECT_EQ(failure->step, CopyFailure::Step::kRead);
    }
  }
  EXPECT_TRUE(reached_the_end);
}

TEST(CopyEngine, FailsWhicheverWriteFails) {
  for (const DiskRequest kind : {DiskRequest::kWrite, DiskRequest::kZero}) {
    bool reached_the_end = false;
    for (uint64_t nth = 0; nth < 100 && !reached_the_end; ++nth) {
      SCOPED_TRACE(nth);
      EngineWorld world(6);
      world.disks[1]->fail({.kind = kind, .after = nth, .os_error = 28});
      const auto failure = world.copy();
      reached_the_end = world.disks[1]->count(kind) <= nth;
      ASSERT_EQ(failure.has_value(), !reached_the_end);
      if (!failure) continue;
      EXPECT_EQ(failure->step, CopyFailure::Step::kWrite);
      EXPECT_EQ(failure->error.code(), ErrorCode::kNoSpace);
    }
    EXPECT_TRUE(reached_the_end);
  }
}

TEST(CopyEngine, AsksForRoomInTheSourcesOrder) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    EngineWorld world(seed);
    world.settings.zero_block = 0;
    world.rules.holes = CopyRules::Holes::kCopied;
    EXPECT_FALSE(world.copy());
    uint64_t next = 0;
    for (size_t event = 1; event <= world.disks[1]->events(); ++event) {
      const std::string what = world.disks[1]->describe_event(event);
      if (!what.starts_with("began write ")) continue;
      EXPECT_EQ(std::stoull(what.substr(std::string("began write ").size()), nullptr, 16), next);
      next += world.rules.piece;
    }
    EXPECT_GE(next, kSize);
  }
}

/// Remembers what it is told.
class Unreadable final : public SalvageReport {
 public:
  void unreadable(uint64_t offset, const Error&) override { offsets.push_back(offset); }
  std::vector<uint64_t> offsets;
};

TEST(CopyEngine, GivesUpOnlyTheSectorThatCannotBeRead) {
  EngineWorld world(3);
  Unreadable report;
  world.salvage = &report;
  world.settings.read_errors = CopySettings::ReadErrors::kZeroes;
  world.settings.workers = 1;
  // The first piece fails, and then its third sector.
  world.disks[0]->fail({.kind = DiskRequest::kRead, .after = 0});
  world.disks[0]->fail({.kind = DiskRequest::kRead, .after = 3});
  world.rules.holes = CopyRules::Holes::kCopied;
  EXPECT_FALSE(world.copy());
  ASSERT_EQ(report.offsets.size(), 1u);
  SparseBytes expected = world.disks[0]->content();
  expected.zero({report.offsets[0], 512});
  EXPECT_EQ(expected.first_difference(world.disks[1]->content()), std::nullopt);
}

TEST(CopyEngine, CopiesNoFasterThanAsked) {
  EngineWorld world(4);
  world.rules.holes = CopyRules::Holes::kCopied;
  world.settings.bytes_per_second = kSize;
  const uint64_t start = world.runtime.now_ns();
  EXPECT_FALSE(world.copy());
  // All but what was in the first pieces had to wait for its time.
  EXPECT_GE(world.runtime.now_ns() - start, 900'000'000u);
  EXPECT_TRUE(world.same());
}

}  // namespace
}  // namespace ashlar::tools
