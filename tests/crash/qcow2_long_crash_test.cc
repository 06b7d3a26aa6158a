// Power cuts in long random histories with requests in flight together.
// One of them again: ASHLAR_LONG_CRASH=<image>:<seed>; many more: ASHLAR_SOAK=1.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "testing/prepared_images.h"
#include "testing/recorded_history.h"
#include "testing/seeded_random.h"

namespace ashlar {
namespace {

using Kind = BlockOperation::Kind;

std::vector<BlockOperation> random_operations(SeededRandom& random, const Qcow2Shape& shape) {
  const std::vector<BlockOperation> all = meeting_operations(shape);
  std::vector<BlockOperation> chosen;
  uint64_t size = shape.size;
  while (chosen.size() < 50) {
    BlockOperation operation = all[random.below(all.size())];
    operation.content = random.next();
    // What writes through has to be alone; that is tried in the short histories.
    if (operation.kind == Kind::kZeroThrough) operation.kind = Kind::kZero;
    if (operation.changes()) {
      const uint64_t shift = random.below(8) * shape.cluster_size();
      operation.range.offset += shift;
      if (operation.range.end() > size) continue;
    }
    if (operation.kind == Kind::kResize) size = operation.range.offset;
    chosen.push_back(operation);
  }
  return chosen;
}

std::string run_case(const PreparedImage& image, uint64_t seed) {
  SeededRandom random(seed);
  RecordedHistory::Plan plan{.shape = image.shape, .files = image.files, .operations = {}};
  plan.setup = {.seed = random.next(), .loops = 2, .disk_alignment = image.disk_alignment};
  plan.operations = random_operations(random, image.shape);
  plan.depth = static_cast<unsigned>(random.between(1, 4));
  RecordedHistory recorded(std::move(plan));
  const std::string failure = recorded.run();
  if (!failure.empty()) return failure;
  return recorded.check_power_cuts(1);
}

class Qcow2LongCrash : public testing::TestWithParam<size_t> {};

TEST_P(Qcow2LongCrash, WhatWasFlushedSurvivesWhateverElseIsInFlight) {
  const PreparedImage image = prepared_images()[GetParam()];
  const uint64_t seeds = std::getenv("ASHLAR_SOAK") != nullptr ? 300 : 6;
  int failures = 0;
  for (uint64_t seed = 1; seed <= seeds && failures < 2; ++seed) {
    const std::string failure = run_case(image, seed);
    if (failure.empty()) continue;
    ++failures;
    ADD_FAILURE() << "ASHLAR_LONG_CRASH=" << GetParam() << ":" << seed << " replays it ("
                  << image.name << "): " << failure;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryImage, Qcow2LongCrash,
                         testing::Range(size_t{0}, prepared_images().size()));

TEST(Qcow2LongCrashReplay, ReplaysOneCase) {
  const char* which = std::getenv("ASHLAR_LONG_CRASH");
  if (which == nullptr) GTEST_SKIP() << "ASHLAR_LONG_CRASH is not set";
  char* rest = nullptr;
  const size_t image = std::strtoull(which, &rest, 0);
  ASSERT_EQ(*rest, ':');
  EXPECT_EQ(run_case(prepared_images().at(image), std::strtoull(rest + 1, nullptr, 0)), "");
}

}  // namespace
}  // namespace ashlar
