// What clients are told of dirty bitmaps: the claims of BitmapContext.
#include "exports/nbd/bitmap_context.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace ashlar::nbd {
namespace {

constexpr uint64_t kGranularity = 512;

LoadedBitmap bitmap_of(const std::vector<bool>& dirty) {
  LoadedBitmap loaded;
  loaded.bitmap.name = "b";
  loaded.bitmap.granularity = kGranularity;
  loaded.bits.resize((dirty.size() + 7) / 8);
  for (size_t bit = 0; bit < dirty.size(); ++bit) {
    if (dirty[bit]) loaded.bits[bit / 8] |= std::byte{1} << bit % 8;
  }
  return loaded;
}

/// Runs of equal bits, short and long.
std::vector<bool> random_runs(size_t size, std::mt19937_64& random) {
  std::vector<bool> bits;
  bool dirty = random() % 2 == 0;
  while (bits.size() < size) {
    const size_t length = random() % 3 == 0 ? random() % 400 : 1 + random() % 9;
    bits.insert(bits.end(), std::min(length, size - bits.size()), dirty);
    dirty = !dirty;
  }
  return bits;
}

TEST(BitmapContext, TellsOfEachPlaceWhatItsBitSaysUpToTheNextChange) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    const std::vector<bool> dirty = random_runs(1 + random() % 2000, random);
    const uint64_t size = dirty.size() * kGranularity;
    const BitmapContext context(bitmap_of(dirty));
    for (int question = 0; question < 50; ++question) {
      const uint64_t offset = random() % size;
      const ByteRange range(offset, 1 + random() % (size - offset));
      const Descriptor told = context.describe(range);
      uint64_t bit = offset / kGranularity;
      const bool is_dirty = dirty[bit];
      while (bit < dirty.size() && dirty[bit] == is_dirty) ++bit;
      ASSERT_EQ(told.flags, is_dirty ? kStateDirty : 0) << "round " << round;
      ASSERT_EQ(told.length, std::min(bit * kGranularity, range.end()) - offset)
          << "round " << round;
    }
  }
}

TEST(BitmapContext, WhatIsBehindItsBitsIsClean) {
  const BitmapContext context(bitmap_of(std::vector<bool>(8, true)));
  const Descriptor inside = context.describe({0, 100 * kGranularity});
  EXPECT_EQ(inside.length, 8 * kGranularity);
  EXPECT_EQ(inside.flags, kStateDirty);
  const Descriptor behind = context.describe({8 * kGranularity, 92 * kGranularity});
  EXPECT_EQ(behind.length, 92 * kGranularity);
  EXPECT_EQ(behind.flags, 0U);
}

}  // namespace
}  // namespace ashlar::nbd
