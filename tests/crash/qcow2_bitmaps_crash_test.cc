// Power cuts while bitmaps are added or fitted to another disk size: they are whole before and
// after, and always fit the disk. And while the disk is written: they say nothing then, or all.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "ashlar/node.h"
#include "async/sync.h"
#include "testing/qcow2_builder.h"
#include "testing/simulated_image.h"

namespace ashlar {
namespace {

using Bits = std::vector<std::byte>;
using State = PersistentBitmap::State;

constexpr uint64_t kGranularity = 512;
constexpr uint64_t kSize = 5_MiB;  // three clusters of bits

/// Some set, and full and empty stretches, for a disk that was kSize long.
Bits bits_for(uint64_t size) {
  Bits bits(size / kGranularity / 8);
  for (size_t i = 0; i < std::min<size_t>(bits.size(), kSize / kGranularity / 8); ++i) {
    bits[i] = i < 512 ? std::byte{0xff} : std::byte(i % 7 == 0 ? i : 0);
  }
  return bits;
}

Qcow2Shape small_clusters() {
  Qcow2Shape shape;
  shape.cluster_bits = 9;
  shape.size = kSize;
  return shape;
}

ImageFiles files_of(SparseBytes image) {
  ImageFiles files;
  files.image = std::move(image);
  return files;
}

BitmapStore& store_of(SimulatedImage& image) {
  return *image.backend().root()->driver().bitmap_store();
}

/// Opens, adds bitmaps of those names, closes.
Task<Result<void>> add(SimulatedImage& image, std::vector<std::string> names) {
  Result<void> done = co_await image.open();
  for (const std::string& name : names) {
    PersistentBitmap bitmap;
    bitmap.name = name;
    bitmap.granularity = kGranularity;
    bitmap.state = name == "tracks" ? State::kEnabled : State::kDisabled;
    Bits bits = bits_for(kSize);
    if (done) done = co_await store_of(image).add_bitmap(bitmap, bits);
  }
  const Result<void> closed = co_await image.close();
  co_return done ? closed : done;
}

Task<Result<void>> resize(SimulatedImage& image, uint64_t size) {
  Result<void> done = co_await image.open();
  if (done) done = co_await image.backend().resize(size, {});
  if (done) done = co_await image.backend().flush();
  const Result<void> closed = co_await image.close();
  co_return done ? closed : done;
}

/// What is wrong with the image; empty: nothing. `names`: the bitmaps that are there.
Task<std::string> look(SimulatedImage& image, std::vector<std::string>* names) {
  const Result<void> opened = co_await image.open();
  if (!opened) co_return opened.error().message();
  std::string wrong;
  const uint64_t size = image.backend().root()->size();
  const auto bitmaps = co_await store_of(image).list_bitmaps();
  if (!bitmaps) wrong = bitmaps.error().message();
  for (size_t i = 0; bitmaps && i < bitmaps->size(); ++i) {
    const PersistentBitmap& bitmap = (*bitmaps)[i];
    if (names != nullptr) names->push_back(bitmap.name);
    const auto bits = co_await store_of(image).read_bitmap(bitmap.name);
    if (!bits) {
      wrong = bits.error().message();
    } else if (*bits != bits_for(size)) {
      wrong = bitmap.name + " has other bits";
    }
  }
  CheckOptions options;
  const auto checked = co_await image.backend().root()->driver().check(options);
  if (!checked || checked->corruptions != 0) wrong += " and the check fails";
  const Result<void> closed = co_await image.close();
  if (!closed) wrong += closed.error().message();
  co_return wrong;
}

/// Looks at every power cut of what `image` went through.
uint64_t check_cuts(SimulatedImage& image) {
  uint64_t cuts = 0;
  const auto visit = [&cuts](const auto& cut, const SparseBytes& left) {
    if (testing::Test::HasFailure()) return;
    ++cuts;
    SimulatedImage after({.seed = 1, .longest_ns = 0}, files_of(left));
    EXPECT_EQ(sync_wait(after.runtime(), look(after, nullptr)), "") << cut.describe();
  };
  image.disk().for_each_power_cut(2, 1, visit);
  return cuts;
}

SparseBytes image_with_bitmaps() {
  SimulatedImage image({.seed = 1}, files_of(Qcow2Builder(small_clusters()).finish()));
  const Result<void> added = sync_wait(image.runtime(), add(image, {"kept", "tracks"}));
  EXPECT_TRUE(added) << added.error().message();
  return image.disk().content();
}

class Qcow2BitmapResize : public testing::TestWithParam<uint64_t> {};

TEST_P(Qcow2BitmapResize, SurvivesPowerCuts) {
  SimulatedImage image({.seed = 1, .longest_ns = 0}, files_of(image_with_bitmaps()));
  const Result<void> done = sync_wait(image.runtime(), resize(image, GetParam()));
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_GT(check_cuts(image), 20u);

  std::vector<std::string> names;
  SimulatedImage after({.seed = 1}, files_of(image.disk().content()));
  EXPECT_EQ(sync_wait(after.runtime(), look(after, &names)), "");
  EXPECT_EQ(names, (std::vector<std::string>{"kept", "tracks"}));
}

// Within the last cluster of bits, to a full one, beyond, and smaller in each of these ways.
INSTANTIATE_TEST_SUITE_P(Sizes, Qcow2BitmapResize,
                         testing::Values(5_MiB + 4096, 6_MiB, 9_MiB, 5_MiB - 4096, 4_MiB, 1_MiB));

TEST(Qcow2BitmapAdd, SurvivesPowerCuts) {
  SimulatedImage image({.seed = 1, .longest_ns = 0},
                       files_of(Qcow2Builder(small_clusters()).finish()));
  const Result<void> added = sync_wait(image.runtime(), add(image, {"kept", "tracks"}));
  ASSERT_TRUE(added) << added.error().message();
  EXPECT_GT(check_cuts(image), 20u);
}

constexpr uint64_t kWritten = 3_MiB + 512 * 9;  // the first byte of a write that was not noted yet

constexpr std::array<uint64_t, 3> kWrites{kWritten, kWritten + 100'000, 4_MiB};
constexpr uint64_t kWriteLength = 3000;

/// Writes here and there, flushes, writes again, and closes.
Task<Result<void>> write(SimulatedImage& image) {
  Result<void> done = co_await image.open();
  const Bits data(kWriteLength, std::byte{0x11});
  const ConstBuffers from(data.data(), data.size());
  for (const uint64_t offset : kWrites) {
    const ByteRange range(offset, data.size());
    if (done) done = co_await image.backend().write(range, from, {});
    if (done && offset != kWritten) done = co_await image.backend().flush();
  }
  const Result<void> closed = co_await image.close();
  co_return done ? closed : done;
}

/// Whether a byte of the disk is other than zero and not marked in `bits`.
Task<bool> misses_something(Backend& backend, const Bits& bits) {
  Bits data(kGranularity);
  const MutableBuffers into(data.data(), data.size());
  for (const uint64_t offset : kWrites) {
    const uint64_t end = (offset + kWriteLength - 1) / kGranularity + 1;
    for (uint64_t part = offset / kGranularity; part < end; ++part) {
      if ((std::to_integer<unsigned>(bits[part / 8]) >> (part % 8) & 1) != 0) continue;
      const ByteRange range(part * kGranularity, kGranularity);
      const Result<void> read = co_await backend.read(range, into);
      if (!read || data != Bits(kGranularity)) co_return true;
    }
  }
  co_return false;
}

/// What is wrong with the bitmaps; empty: nothing. `sure`: those that say something.
Task<std::string> judge(SimulatedImage& image, std::vector<std::string>& sure) {
  const Result<void> opened = co_await image.open();
  if (!opened) co_return opened.error().message();
  std::string wrong;
  const auto bitmaps = co_await store_of(image).list_bitmaps();
  if (!bitmaps || bitmaps->size() != 2) wrong = "bitmaps are lost";
  for (size_t i = 0; bitmaps && i < bitmaps->size(); ++i) {
    const PersistentBitmap& bitmap = (*bitmaps)[i];
    if (bitmap.state == State::kInconsistent) continue;
    sure.push_back(bitmap.name);
    const auto bits = co_await store_of(image).read_bitmap(bitmap.name);
    if (!bits) co_return bits.error().message();
    if (bitmap.name == "kept" && *bits != bits_for(kSize)) wrong = "kept has other bits";
    if (bitmap.name != "tracks") continue;
    const bool missed = co_await misses_something(image.backend(), *bits);
    if (missed) wrong = "tracks misses a write";
  }
  const Result<void> closed = co_await image.close();
  if (!closed) wrong += closed.error().message();
  co_return wrong;
}

TEST(Qcow2BitmapTracking, APowerCutLeavesItSureOnlyOfWhatIsTrue) {
  SimulatedImage image({.seed = 1, .longest_ns = 0}, files_of(image_with_bitmaps()));
  const Result<void> written = sync_wait(image.runtime(), write(image));
  ASSERT_TRUE(written) << written.error().message();
  unsigned unsure = 0;
  const auto visit = [&unsure](const auto& cut, const SparseBytes& left) {
    if (testing::Test::HasFailure()) return;
    SimulatedImage after({.seed = 1, .longest_ns = 0}, files_of(left));
    std::vector<std::string> sure;
    EXPECT_EQ(sync_wait(after.runtime(), judge(after, sure)), "") << cut.describe();
    unsure += sure.size() == 1 ? 1 : 0;
  };
  image.disk().for_each_power_cut(2, 1, visit);
  EXPECT_GT(unsure, 5u);
  SimulatedImage after({.seed = 1}, files_of(image.disk().content()));
  std::vector<std::string> sure;
  EXPECT_EQ(sync_wait(after.runtime(), judge(after, sure)), "");
  EXPECT_EQ(sure, (std::vector<std::string>{"kept", "tracks"}));
  ASSERT_TRUE(sync_wait(after.runtime(), after.open()));
  const auto bits = sync_wait(after.runtime(), store_of(after).read_bitmap("tracks"));
  EXPECT_TRUE(bits && (std::to_integer<unsigned>((*bits)[kWritten / kGranularity / 8]) >>
                           (kWritten / kGranularity % 8) &
                       1));
  EXPECT_TRUE(sync_wait(after.runtime(), after.close()));
}

}  // namespace
}  // namespace ashlar
