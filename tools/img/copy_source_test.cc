// Claims about several images that are read as one.
#include "tools/img/copy_source.h"

#include <gtest/gtest.h>

#include "tools/img/copy_world.h"

namespace ashlar::tools {
namespace {

Task<Result<std::vector<std::byte>>> read_all(CopySource& source) {
  std::vector<std::byte> bytes(source.size(), std::byte{0xee});
  const Result<void> done = co_await source.read({0, source.size()}, bytes);
  if (!done) co_return fail(done.error());
  co_return bytes;
}

Task<Result<Extent>> status_at(CopySource& source, uint64_t offset) {
  co_return co_await source.status({offset, source.size() - offset}, 0);
}

void fill(SimulatedDisk& disk, ByteRange range, uint8_t value) {
  std::vector<std::byte> bytes(range.length, std::byte(value));
  ASSERT_TRUE(disk.write(range, MutableBuffers(std::span(bytes))));
}

TEST(CopySource, FillsAnOddImageUpToASectorWithZeroes) {
  CopyWorld world(1);
  CopySource source;
  ASSERT_TRUE(source.append(world.add(1000)));
  fill(*world.disks[0], {0, 1000}, 7);
  EXPECT_EQ(source.size(), 1024u);
  const auto bytes = sync_wait(world.runtime, read_all(source));
  ASSERT_TRUE(bytes);
  EXPECT_EQ((*bytes)[999], std::byte{7});
  EXPECT_EQ((*bytes)[1000], std::byte{0});
  EXPECT_EQ((*bytes)[1023], std::byte{0});
}

TEST(CopySource, PutsImagesBehindEachOther) {
  CopyWorld world(1);
  CopySource source;
  ASSERT_TRUE(source.append(world.add(700)));
  ASSERT_TRUE(source.append(world.add(0)));
  ASSERT_TRUE(source.append(world.add(512)));
  fill(*world.disks[0], {0, 700}, 1);
  fill(*world.disks[2], {0, 512}, 2);
  EXPECT_EQ(source.size(), 1536u);
  const auto bytes = sync_wait(world.runtime, read_all(source));
  ASSERT_TRUE(bytes);
  EXPECT_EQ((*bytes)[699], std::byte{1});
  EXPECT_EQ((*bytes)[700], std::byte{0});
  EXPECT_EQ((*bytes)[1024], std::byte{2});
  EXPECT_EQ((*bytes)[1535], std::byte{2});
}

TEST(CopySource, GivesAPartOfAnImage) {
  CopyWorld world(1);
  CopySource source;
  const BackendRef image = world.add(4096);
  fill(*world.disks[0], {1024, 512}, 9);
  ASSERT_TRUE(source.append_part(image, {1024, 600}));
  EXPECT_EQ(source.size(), 1024u);
  const auto bytes = sync_wait(world.runtime, read_all(source));
  ASSERT_TRUE(bytes);
  EXPECT_EQ((*bytes)[0], std::byte{9});
  EXPECT_EQ((*bytes)[511], std::byte{9});
  EXPECT_EQ((*bytes)[512], std::byte{0});
}

TEST(CopySource, SaysThatThePaddingIsZeroAndEndsExtentsAtImages) {
  CopyWorld world(1);
  CopySource source;
  ASSERT_TRUE(source.append(world.add(1000)));
  ASSERT_TRUE(source.append(world.add(512)));
  fill(*world.disks[0], {0, 1000}, 1);
  fill(*world.disks[1], {0, 512}, 1);
  const auto data = sync_wait(world.runtime, status_at(source, 0));
  ASSERT_TRUE(data);
  EXPECT_TRUE(data->data);
  EXPECT_EQ(data->length, 1000u);
  const auto padding = sync_wait(world.runtime, status_at(source, 1000));
  ASSERT_TRUE(padding);
  EXPECT_TRUE(padding->zero);
  EXPECT_EQ(padding->length, 24u);
}

}  // namespace
}  // namespace ashlar::tools
