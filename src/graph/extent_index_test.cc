// The table of resolved extents: what it finds, and that readers never see half an entry.
#include "graph/extent_index.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace ashlar {
namespace {

ResolvedExtent extent_at(uint64_t start, uint64_t length, uint64_t offset) {
  ResolvedExtent extent;
  extent.start = start;
  extent.length = length;
  extent.offset = offset;
  return extent;
}

TEST(ExtentIndex, FindsWhatCoversAnOffset) {
  ExtentIndex index;
  EXPECT_FALSE(index.find(0));
  index.note(0, extent_at(0, 4096, 7), index.generation());
  ASSERT_TRUE(index.find(4095));
  EXPECT_EQ(index.find(4095)->offset, 7u);
  EXPECT_FALSE(index.find(4096));
  const uint64_t same_slot = ExtentIndex::kBlock * ExtentIndex::kSlots;
  EXPECT_FALSE(index.find(same_slot));
  index.note(same_slot, extent_at(same_slot, 512, 9), index.generation());
  EXPECT_TRUE(index.find(same_slot));
  EXPECT_FALSE(index.find(0));
}

TEST(ExtentIndex, ForgetsWhatWasResolvedBeforeAnInvalidation) {
  ExtentIndex index;
  index.note(0, extent_at(0, 4096, 7), index.generation());
  const uint32_t before = index.generation();
  index.invalidate();
  EXPECT_FALSE(index.find(0));
  index.note(0, extent_at(0, 4096, 8), before);  // resolved before, noted after
  EXPECT_FALSE(index.find(0));
  index.note(0, extent_at(0, 4096, 9), index.generation());
  EXPECT_EQ(index.find(0)->offset, 9u);
}

TEST(ExtentIndex, NeverShowsHalfAnEntry) {
  ExtentIndex index;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> found{0};
  std::vector<std::jthread> threads;
  for (uint64_t writer = 1; writer <= 2; ++writer) {
    threads.emplace_back([&index, &stop, writer] {
      for (uint64_t i = 0; !stop.load(); ++i) {
        const uint64_t length = 1 + (i * 2 + writer) % 60000;
        index.note(0, extent_at(0, length, length * 3), index.generation());
        if (i % 64 == 0) index.invalidate();
      }
    });
  }
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&index, &stop, &found] {
      while (!stop.load()) {
        const std::optional<ResolvedExtent> extent = index.find(0);
        if (!extent) continue;
        EXPECT_EQ(extent->offset, extent->length * 3);
        found.fetch_add(1);
      }
    });
  }
  while (found.load() < 20000) std::this_thread::yield();
  stop.store(true);
}

}  // namespace
}  // namespace ashlar
