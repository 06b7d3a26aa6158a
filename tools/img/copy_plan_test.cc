// Claims about the pieces that a copy is cut into.
#include "tools/img/copy_plan.h"

#include <gtest/gtest.h>

#include "tools/img/copy_world.h"

namespace ashlar::tools {
namespace {

Task<void> collect(CopyPlan& plan, std::vector<CopyPiece>& pieces) {
  while (true) {
    const std::optional<CopyPiece> piece = co_await plan.next();
    if (!piece) co_return;
    pieces.push_back(*piece);
  }
}

/// A disk of `size` bytes with data in `data`, cut by `rules`.
struct PlanWorld {
  PlanWorld(uint64_t size, std::vector<ByteRange> data) {
    EXPECT_TRUE(source.append(world.add(size)));
    for (const ByteRange& range : data) {
      std::vector<std::byte> bytes(range.length, std::byte{1});
      EXPECT_TRUE(world.disks[0]->write(range, MutableBuffers(std::span(bytes))));
    }
  }
  std::vector<CopyPiece> cut(const CopyRules& rules) {
    CopyPlan plan(source, rules);
    std::vector<CopyPiece> pieces;
    sync_wait(world.runtime, collect(plan, pieces));
    EXPECT_FALSE(plan.error());
    return pieces;
  }
  CopyWorld world{1};
  CopySource source;
};

CopyRules rules_of(uint64_t unit, uint64_t piece, CopyRules::Holes holes) {
  CopyRules rules;
  rules.unit = unit;
  rules.piece = piece;
  rules.holes = holes;
  return rules;
}

using Holes = CopyRules::Holes;

TEST(CopyPlan, CoversTheSourceOnceInOrder) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    CopyWorld world(seed);
    CopySource source;
    ASSERT_TRUE(source.append(world.add(512 * world.random.between(1, 700))));
    world.scatter(0);
    CopyPlan plan(source, rules_of(8192, 32768, Holes::kZeroed));
    std::vector<CopyPiece> pieces;
    sync_wait(world.runtime, collect(plan, pieces));
    uint64_t position = 0;
    for (size_t at = 0; at < pieces.size(); ++at) {
      EXPECT_EQ(pieces[at].range.offset, position);
      EXPECT_EQ(pieces[at].turn, at);
      EXPECT_TRUE(is_aligned(position, 8192));
      if (pieces[at].kind == CopyPiece::Kind::kData) {
        EXPECT_LE(pieces[at].range.length, 32768u);
      }
      position = pieces[at].range.end();
    }
    EXPECT_EQ(position, source.size());
  }
}

TEST(CopyPlan, CopiesAShortEndWhateverItHolds) {
  PlanWorld world(1_MiB + 512, {{64_KiB, 4096}});
  CopyRules rules = rules_of(64_KiB, 64_KiB, Holes::kSkipped);
  EXPECT_EQ(world.cut(rules).size(), 1u);
  rules.end = CopyRules::End::kCopied;
  const auto pieces = world.cut(rules);
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].range, (ByteRange{64_KiB, 64_KiB}));
  EXPECT_EQ(pieces[1].range, (ByteRange{1_MiB, 512}));
  EXPECT_EQ(pieces[1].kind, CopyPiece::Kind::kData);
}

TEST(CopyPlan, LeavesOutHolesThatTheTargetHasAlready) {
  PlanWorld world(1_MiB, {{64_KiB, 4096}, {512_KiB, 8192}});
  const auto pieces = world.cut(rules_of(4096, 256_KiB, Holes::kSkipped));
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].range, (ByteRange{64_KiB, 4096}));
  EXPECT_EQ(pieces[1].range, (ByteRange{512_KiB, 8192}));
}

TEST(CopyPlan, TakesAUnitOfDataAndHolesAsData) {
  PlanWorld world(1_MiB, {{64_KiB + 4096, 4096}});
  const auto pieces = world.cut(rules_of(64_KiB, 256_KiB, Holes::kSkipped));
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].range, (ByteRange{64_KiB, 64_KiB}));
}

TEST(CopyPlan, MakesHolesDataWhenAllIsToBeWritten) {
  PlanWorld world(600_KiB, {});
  const auto pieces = world.cut(rules_of(4096, 256_KiB, Holes::kCopied));
  ASSERT_EQ(pieces.size(), 3u);
  for (const CopyPiece& piece : pieces) EXPECT_EQ(piece.kind, CopyPiece::Kind::kData);
  EXPECT_EQ(pieces[2].range.length, 88_KiB);
}

TEST(CopyPlan, KeepsAShortLastUnit) {
  PlanWorld world(64_KiB + 512, {{0, 64_KiB + 512}});
  const auto pieces = world.cut(rules_of(64_KiB, 64_KiB, Holes::kSkipped));
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[1].range, (ByteRange{64_KiB, 512}));
}

TEST(CopyPlan, StepsOverHugeHolesQuickly) {
  PlanWorld world(64_TiB, {{32_TiB, 4096}});
  const auto pieces = world.cut(rules_of(64_KiB, 256_KiB, Holes::kSkipped));
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].range.offset, 32_TiB);
}

TEST(CopyPlan, GivesNothingAfterAStop) {
  PlanWorld world(1_MiB, {{0, 1_MiB}});
  CopyPlan plan(world.source, rules_of(4096, 4096, Holes::kSkipped));
  plan.on_progress([&plan](uint64_t position) {
    if (position == 12288) plan.stop();
  });
  std::vector<CopyPiece> pieces;
  sync_wait(world.world.runtime, collect(plan, pieces));
  EXPECT_EQ(pieces.size(), 3u);
}

}  // namespace
}  // namespace ashlar::tools
