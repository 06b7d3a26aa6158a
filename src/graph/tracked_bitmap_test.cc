// The claims of bitmaps in memory: every written byte is in a marked part, and nothing else is.
#include "graph/tracked_bitmap.h"

#include <gtest/gtest.h>

#include <random>

#include "graph/write_watch.h"

namespace ashlar {
namespace {

TrackedBitmap bitmap_of(uint64_t size, uint64_t granularity) {
  TrackedBitmap made;
  made.bitmap.name = "b";
  made.bitmap.granularity = granularity;
  made.start(size);
  return made;
}

std::string text_of(const TrackedBitmap& bitmap) {
  std::string text;
  const std::vector<std::byte> bits = bitmap.bits();
  const uint64_t count =
      (bitmap.disk_size + bitmap.bitmap.granularity - 1) / bitmap.bitmap.granularity;
  for (uint64_t bit = 0; bit < count; ++bit) {
    const bool set = (std::to_integer<unsigned>(bits[bit / 8]) >> (bit % 8) & 1) != 0;
    text += set ? '#' : '.';
  }
  return text;
}

TEST(TrackedBitmap, MarksEveryPartThatIsTouched) {
  TrackedBitmap bitmap = bitmap_of(5000, 512);
  bitmap.mark({0, 1});
  bitmap.mark({1023, 2});
  bitmap.mark({4999, 1});
  bitmap.mark({2048, 0});
  EXPECT_EQ(text_of(bitmap), "###......#");
  EXPECT_EQ(bitmap.dirty_bytes(), 4 * 512U);
  bitmap.clear();
  EXPECT_EQ(bitmap.dirty_bytes(), 0U);
}

TEST(TrackedBitmap, MarksAsAModelDoes) {
  std::mt19937 random(7);
  constexpr uint64_t kSize = 200 * 512 + 100;
  for (int round = 0; round < 200; ++round) {
    TrackedBitmap bitmap = bitmap_of(kSize, 512);
    std::string model(201, '.');
    for (int writes = 0; writes < 5; ++writes) {
      const uint64_t offset = random() % kSize;
      const uint64_t length = 1 + random() % (kSize - offset);
      bitmap.mark({offset, length});
      for (uint64_t at = offset / 512; at <= (offset + length - 1) / 512; ++at) model[at] = '#';
    }
    ASSERT_EQ(text_of(bitmap), model) << round;
  }
}

TEST(TrackedBitmap, GrowsCleanAndForgetsWhatIsCutOff) {
  TrackedBitmap bitmap = bitmap_of(4 * 512, 512);
  bitmap.mark({0, 4 * 512});
  bitmap.resize(2 * 512 + 1);
  EXPECT_EQ(text_of(bitmap), "###");
  bitmap.resize(100 * 512);
  EXPECT_EQ(text_of(bitmap), "###" + std::string(97, '.'));
  bitmap.mark({100 * 512, 512});  // a file that grows by being written
  EXPECT_EQ(text_of(bitmap), "###" + std::string(97, '.') + "#");
}

TEST(TrackedBitmap, WhatCannotBeNotedAnyMoreIsInconsistent) {
  TrackedBitmap bitmap = bitmap_of(512, 512);
  bitmap.mark({uint64_t{1} << 62, 1});
  EXPECT_EQ(bitmap.bitmap.state, PersistentBitmap::State::kInconsistent);
  EXPECT_TRUE(bitmap.words.empty());
  bitmap.mark({0, 512});
  bitmap.resize(1024);
  EXPECT_EQ(bitmap.bitmap.state, PersistentBitmap::State::kInconsistent);
}

TEST(TrackedBitmap, MergesCoarserAndFinerOnes) {
  TrackedBitmap fine = bitmap_of(8 * 512 + 10, 512);
  fine.mark({512, 1});
  fine.mark({8 * 512, 10});
  TrackedBitmap coarse = bitmap_of(8 * 512 + 10, 2048);
  coarse.merge(fine);
  EXPECT_EQ(text_of(coarse), "#.#");
  TrackedBitmap back = bitmap_of(8 * 512 + 10, 512);
  back.merge(coarse);
  EXPECT_EQ(text_of(back), "####....#");
}

TEST(TrackedBitmap, LoadsWhatItGives) {
  TrackedBitmap bitmap = bitmap_of(77 * 512, 512);
  bitmap.mark({512, 70 * 512});
  TrackedBitmap other = bitmap_of(77 * 512, 512);
  other.load(bitmap.bits());
  EXPECT_EQ(text_of(other), text_of(bitmap));
}

TEST(WriteWatch, OnlyEnabledBitmapsNoteWrites) {
  WriteWatch watch;
  EXPECT_FALSE(watch.active());
  TrackedBitmap on = bitmap_of(4096, 512);
  TrackedBitmap off = on;
  off.bitmap.state = PersistentBitmap::State::kDisabled;
  watch.with_bitmaps([&](WriteWatch::Bitmaps& all) { all = {on, off}; });
  EXPECT_TRUE(watch.active());
  EXPECT_FALSE(watch.note({0, 600}));
  EXPECT_FALSE(watch.unsaved());
  watch.with_bitmaps([](WriteWatch::Bitmaps& all) {
    EXPECT_EQ(all[0].dirty_bytes(), 1024U);
    EXPECT_EQ(all[1].dirty_bytes(), 0U);
    all[0].life = TrackedBitmap::Life::kPersistent;
  });
  EXPECT_FALSE(watch.note({0, 1}));
  EXPECT_TRUE(watch.unsaved());
}

TEST(WriteWatch, AThresholdIsExceededOnce) {
  WriteWatch watch;
  watch.set_threshold(1000, nullptr);
  EXPECT_FALSE(watch.note({900, 100}));
  const auto exceeded = watch.note({900, 101});
  ASSERT_TRUE(exceeded);
  EXPECT_EQ(exceeded->threshold, 1000U);
  EXPECT_EQ(exceeded->amount, 1U);
  EXPECT_FALSE(watch.note({5000, 1}));
  EXPECT_EQ(watch.threshold(), 0U);
  EXPECT_FALSE(watch.active());
}

}  // namespace
}  // namespace ashlar
