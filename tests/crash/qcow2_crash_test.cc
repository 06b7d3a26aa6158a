// Power cuts: every short history on every prepared image, cut after every event of the disk.
// One of them again: ASHLAR_CRASH=<image>:<history>.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "testing/prepared_images.h"
#include "testing/qcow2_builder.h"
#include "testing/recorded_history.h"

namespace ashlar {
namespace {

/// The requests of history `index`: as the digits of a number, but of any length up to three.
std::vector<BlockOperation> history(const Qcow2Shape& shape, size_t index) {
  const std::vector<BlockOperation> all = meeting_operations(shape);
  std::vector<BlockOperation> chosen;
  for (++index; index != 0; index = (index - 1) / all.size()) {
    chosen.push_back(all[(index - 1) % all.size()]);
  }
  return chosen;
}

/// Requests that end past the end, where an earlier one has cut it off, are not part of a history.
bool fits(const Qcow2Shape& shape, const std::vector<BlockOperation>& operations) {
  uint64_t size = shape.size;
  for (const BlockOperation& operation : operations) {
    if (operation.kind == BlockOperation::Kind::kResize) size = operation.range.offset;
    if (operation.changes() && operation.range.end() > size) return false;
  }
  return true;
}

std::string crash(const PreparedImage& image, size_t index) {
  RecordedHistory::Plan plan{.shape = image.shape, .files = image.files, .operations = {}};
  plan.setup = {.seed = index + 1, .disk_alignment = image.disk_alignment, .longest_ns = 0};
  plan.operations = history(image.shape, index);
  if (!fits(image.shape, plan.operations)) return {};
  RecordedHistory recorded(std::move(plan));
  std::string failure = recorded.run();
  if (failure.empty()) failure = recorded.check_power_cuts(1);
  return failure;
}

constexpr size_t kHistories = 10 + 100 + 1000;  // of one, two and three out of ten

class Qcow2Crash : public testing::TestWithParam<size_t> {};

TEST_P(Qcow2Crash, AnUnflushedRequestMayVanishAndNothingElse) {
  const PreparedImage image = prepared_images()[GetParam()];
  int failures = 0;
  for (size_t index = 0; index < kHistories && failures < 2; ++index) {
    const std::string failure = crash(image, index);
    if (failure.empty()) continue;
    ++failures;
    ADD_FAILURE() << "ASHLAR_CRASH=" << GetParam() << ":" << index << " replays it (" << image.name
                  << "): " << failure;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryImage, Qcow2Crash,
                         testing::Range(size_t{0}, prepared_images().size()));

/// The block that counts the new clusters and the table that has to point to it are both new.
TEST(Qcow2TableGrowth, SurvivesPowerCutsTogetherWithNewBlocks) {
  Qcow2Shape shape;
  shape.cluster_bits = 9;
  shape.refcount_order = 6;
  shape.size = 200 * shape.cluster_size();
  Qcow2Builder builder(shape);
  constexpr uint64_t kCounted = 64 * 64;
  constexpr uint64_t kFree = 64 + 40;
  builder.add_leaks(kCounted - 64 - kFree);
  RecordedHistory::Plan plan{.shape = shape, .files = {}, .operations = {}};
  plan.files.image = builder.finish();
  plan.setup.longest_ns = 0;
  plan.operations.push_back({BlockOperation::Kind::kWrite, {0, shape.size}, 1});
  plan.operations.push_back({BlockOperation::Kind::kFlush});
  RecordedHistory recorded(std::move(plan));
  ASSERT_EQ(recorded.run(), "");
  EXPECT_EQ(recorded.check_power_cuts(2), "");
}

TEST(Qcow2CrashReplay, ReplaysOneHistory) {
  const char* which = std::getenv("ASHLAR_CRASH");
  if (which == nullptr) GTEST_SKIP() << "ASHLAR_CRASH is not set";
  char* rest = nullptr;
  const size_t image = std::strtoull(which, &rest, 0);
  ASSERT_EQ(*rest, ':');
  EXPECT_EQ(crash(prepared_images().at(image), std::strtoull(rest + 1, nullptr, 0)), "");
}

}  // namespace
}  // namespace ashlar
