// Interleavings: a few requests at once on the same one or two clusters, under many schedules.
// One of them again: ASHLAR_INTERLEAVING=<image>:<seed>; many more: ASHLAR_SOAK=1.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "testing/prepared_images.h"
#include "testing/recorded_history.h"
#include "testing/seeded_random.h"

namespace ashlar {
namespace {

using Kind = BlockOperation::Kind;

/// A request in the first clusters, whose parts meet those of others.
BlockOperation random_operation(SeededRandom& random, const Qcow2Shape& shape) {
  constexpr Kind kKinds[] = {Kind::kRead,      Kind::kWrite,   Kind::kWrite,      Kind::kZero,
                             Kind::kZeroUnmap, Kind::kDiscard, Kind::kCompressed, Kind::kFlush,
                             Kind::kFlush,     Kind::kRead};
  const uint64_t cluster = shape.cluster_size();
  BlockOperation operation{kKinds[random.below(std::size(kKinds))]};
  operation.content = random.next();
  if (operation.kind == Kind::kFlush) return operation;
  const uint64_t first = random.below(3) * cluster;
  operation.range = {first, cluster * random.between(1, 2)};
  const bool may_be_part = operation.kind != Kind::kCompressed && cluster > 512;
  if (may_be_part && random.one_in(2)) {
    const uint64_t skip = random.below(cluster / 512) * 512;
    operation.range = operation.range.after(skip);
    operation.range = operation.range.first(random.between(1, operation.range.length / 512) * 512);
  }
  return operation;
}

std::string run_case(const PreparedImage& image, uint64_t seed) {
  SeededRandom random(seed);
  RecordedHistory::Plan plan{.shape = image.shape, .files = image.files, .operations = {}};
  plan.setup = {.seed = random.next(), .loops = 3, .disk_alignment = image.disk_alignment};
  if (random.one_in(2)) plan.setup.format_options = "pass-discard-other=on";
  const uint64_t count = random.between(2, random.one_in(2) ? 3 : 8);
  for (uint64_t i = 0; i < count; ++i) {
    plan.operations.push_back(random_operation(random, image.shape));
  }
  plan.depth = static_cast<unsigned>(random.between(2, 4));
  RecordedHistory recorded(std::move(plan));
  return recorded.run();
}

class Qcow2Interleaving : public testing::TestWithParam<size_t> {};

TEST_P(Qcow2Interleaving, RequestsOnTheSameClustersHarmNobody) {
  const PreparedImage image = prepared_images()[GetParam()];
  const uint64_t seeds = std::getenv("ASHLAR_SOAK") != nullptr ? 50'000 : 2'000;
  int failures = 0;
  for (uint64_t seed = 1; seed <= seeds && failures < 2; ++seed) {
    const std::string failure = run_case(image, seed);
    if (failure.empty()) continue;
    ++failures;
    ADD_FAILURE() << "ASHLAR_INTERLEAVING=" << GetParam() << ":" << seed << " replays it ("
                  << image.name << "): " << failure;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryImage, Qcow2Interleaving,
                         testing::Range(size_t{0}, prepared_images().size()));

/// A slow request on a cluster that is freed meanwhile, and others that look for room.
TEST(Qcow2Epochs, KeepAFreedClusterFromOthersWhileARequestMayStillUseIt) {
  const PreparedImage image = prepared_images()[1];
  const uint64_t cluster = image.shape.cluster_size();
  for (uint64_t seed = 1; seed <= 600; ++seed) {
    RecordedHistory::Plan plan{.shape = image.shape, .files = image.files, .operations = {}};
    plan.setup = {.seed = seed, .loops = 2};
    const Kind slow = seed % 2 == 0 ? Kind::kRead : Kind::kWrite;
    plan.operations.push_back({slow, {0, cluster}, seed});
    plan.operations.push_back({Kind::kDiscard, {0, cluster}, 0});
    plan.operations.push_back({Kind::kFlush});
    for (uint64_t other = 6; other < 10; ++other) {
      plan.operations.push_back({Kind::kWrite, {other * cluster, cluster}, seed + other});
    }
    plan.depth = 2;
    RecordedHistory recorded(std::move(plan));
    ASSERT_EQ(recorded.run(), "") << "seed " << seed;
  }
}

TEST(Qcow2InterleavingReplay, ReplaysOneCase) {
  const char* which = std::getenv("ASHLAR_INTERLEAVING");
  if (which == nullptr) GTEST_SKIP() << "ASHLAR_INTERLEAVING is not set";
  char* rest = nullptr;
  const size_t image = std::strtoull(which, &rest, 0);
  ASSERT_EQ(*rest, ':');
  EXPECT_EQ(run_case(prepared_images().at(image), std::strtoull(rest + 1, nullptr, 0)), "");
}

}  // namespace
}  // namespace ashlar
