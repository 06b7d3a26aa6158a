// Faults: in short histories each request to the disk fails once. The request that needed it is
// told, nothing else is harmed, and what had been flushed is there afterwards.
// One of them again: ASHLAR_FAULT=<image>:<kind>:<how>:<n>.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>

#include "testing/prepared_images.h"
#include "testing/qcow2_builder.h"
#include "testing/recorded_history.h"
#include "testing/seeded_random.h"

namespace ashlar {
namespace {

using Fault = SimulatedDisk::Fault;

constexpr std::array<DiskRequest, 4> kKinds{DiskRequest::kRead, DiskRequest::kWrite,
                                            DiskRequest::kFlush, DiskRequest::kResize};

/// In what way the n-th request of a kind fails.
struct How {
  int os_error;
  Fault::Repeat repeat;
  Fault::Effect effect;
};
constexpr std::array<How, 4> kHows{{{EIO, Fault::Repeat::kOnce, Fault::Effect::kNone},
                                    {ENOSPC, Fault::Repeat::kOnce, Fault::Effect::kFirstHalf},
                                    {EIO, Fault::Repeat::kForEver, Fault::Effect::kNone},
                                    {ENOSPC, Fault::Repeat::kForEver, Fault::Effect::kFirstHalf}}};

struct Case {
  size_t image = 0;
  size_t kind = 0;
  size_t how = 0;
  uint64_t nth = 0;
  std::string describe() const {
    return fmt::format("ASHLAR_FAULT={}:{}:{}:{} replays it", image, kind, how, nth);
  }
};

std::vector<BlockOperation> operations_for(const Case& which, const Qcow2Shape& shape) {
  const std::vector<BlockOperation> all = meeting_operations(shape);
  SeededRandom random(which.image * 1000 + which.nth * 7 + which.how);
  std::vector<BlockOperation> chosen;
  uint64_t size = shape.size;
  while (chosen.size() < 8) {
    BlockOperation operation = all[random.below(all.size())];
    operation.content = random.next();
    if (operation.changes() && operation.range.end() > size) continue;
    if (operation.kind == BlockOperation::Kind::kResize) {
      // Which of both sizes a failed one leaves decides what may follow: only growing is tried.
      if (operation.range.offset < size) continue;
      size = operation.range.offset;
    }
    chosen.push_back(operation);
  }
  return chosen;
}

/// Empty: all is well.
std::string run_case(const Case& which, const PreparedImage& image) {
  RecordedHistory::Plan plan{.shape = image.shape, .files = image.files, .operations = {}};
  plan.setup = {.seed = which.nth + 1, .disk_alignment = image.disk_alignment, .longest_ns = 0};
  plan.operations = operations_for(which, image.shape);
  plan.depth = 1 + which.nth % 3;
  RecordedHistory recorded(std::move(plan));
  const How& how = kHows[which.how];
  const DiskRequest kind = kKinds[which.kind];
  const Fault fault{kind, which.nth, how.os_error, how.repeat, how.effect};
  return recorded.run_with(fault);
}

/// Two requests and a flush on a fresh image, while the n-th request to the disk of a kind fails.
std::string run_small(const BlockOperation& first, const BlockOperation& second,
                      const Fault& fault) {
  Qcow2Shape shape;
  shape.cluster_bits = 12;
  shape.size = 16 * shape.cluster_size();
  RecordedHistory::Plan plan{.shape = shape, .files = {}, .operations = {first, second, second}};
  plan.files.image = Qcow2Builder(shape).finish();
  plan.operations[2] = {BlockOperation::Kind::kFlush};
  plan.setup.longest_ns = 0;
  RecordedHistory recorded(std::move(plan));
  const std::string failure = recorded.run_with(fault);
  const uint64_t leaks = recorded.image().audit().leaks();
  const bool may_leak = first.kind == BlockOperation::Kind::kResize;
  return leaks == 0 || may_leak ? failure : fmt::format("{} leaks; {}", leaks, failure);
}

TEST(Qcow2SmallFault, NothingIsBuiltOnAHeaderThatMayNotBeThere) {
  const BlockOperation grow{BlockOperation::Kind::kResize, {64_MiB, 0}};
  const BlockOperation write{BlockOperation::Kind::kWrite, {0, 8192}, 7};
  for (uint64_t nth = 0; nth < 12; ++nth) {
    EXPECT_EQ(run_small(grow, write, {DiskRequest::kFlush, nth, EIO}), "") << nth;
    EXPECT_EQ(run_small(grow, write, {DiskRequest::kWrite, nth, EIO}), "") << nth;
  }
}

TEST(Qcow2SmallFault, RoomThatAFailedWriteHasTouchedIsNotTakenForZeroes) {
  const BlockOperation all{BlockOperation::Kind::kWrite, {0, 4096}, 7};
  const BlockOperation part{BlockOperation::Kind::kWrite, {4096 + 3072, 512}, 8};
  for (uint64_t nth = 0; nth < 4; ++nth) {
    const Fault fault{DiskRequest::kWrite, nth, ENOSPC, Fault::Repeat::kOnce,
                      Fault::Effect::kFirstHalf};
    EXPECT_EQ(run_small(all, part, fault), "") << nth;
  }
}

class Qcow2Fault : public testing::TestWithParam<size_t> {};

TEST_P(Qcow2Fault, AFailedDiskRequestHarmsOnlyWhoNeededIt) {
  const PreparedImage image = prepared_images()[GetParam()];
  constexpr uint64_t kMost = 60;
  int failures = 0;
  for (size_t kind = 0; kind < kKinds.size(); ++kind) {
    for (size_t how = 0; how < kHows.size(); ++how) {
      for (uint64_t nth = 0; nth < kMost && failures < 3; ++nth) {
        const Case which{GetParam(), kind, how, nth};
        const std::string failure = run_case(which, image);
        failures += failure.empty() ? 0 : 1;
        EXPECT_EQ(failure, "") << which.describe() << " (" << image.name << ")";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryImage, Qcow2Fault,
                         testing::Range(size_t{0}, prepared_images().size()));

TEST(Qcow2FaultReplay, ReplaysOneCase) {
  const char* text = std::getenv("ASHLAR_FAULT");
  if (text == nullptr) GTEST_SKIP() << "ASHLAR_FAULT is not set";
  Case which;
  ASSERT_EQ(std::sscanf(text, "%zu:%zu:%zu:%lu", &which.image, &which.kind, &which.how, &which.nth),
            4);
  EXPECT_EQ(run_case(which, prepared_images().at(which.image)), "");
}

}  // namespace
}  // namespace ashlar
