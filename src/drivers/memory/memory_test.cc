// Claims about devices in memory.
#include <gtest/gtest.h>

#include "testing/conformance.h"
#include "testing/test_device.h"

namespace ashlar {
namespace {

TEST(Memory, TakesRoomOnlyForWhatWasWritten) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=memory,size=1T"));
  EXPECT_EQ(device.size(), 1_TiB);
  EXPECT_EQ(device.node().driver().allocated_size(), 0u);
  ASSERT_TRUE(device.write_pattern({1_TiB - 5000, 5000}, 1));
  EXPECT_EQ(device.node().driver().allocated_size(), 8192u);
  EXPECT_TRUE(device.holds({1_TiB - 10'000, 5000}, 0));
}

TEST(Memory, GivesWholePagesBack) {
  OpenFlags flags;
  flags.discard = OpenFlags::Discard::kUnmap;
  TestDevice device;
  ASSERT_TRUE(device.open("driver=memory,size=1M", flags));
  ASSERT_TRUE(device.write_pattern({0, 1_MiB}, 1));
  ASSERT_TRUE(device.discard({1000, 64_KiB}));
  EXPECT_EQ(device.node().driver().allocated_size(), 1_MiB - 60_KiB);
  EXPECT_TRUE(device.holds({0, 1000}, 1));
  EXPECT_TRUE(device.holds({1000, 64_KiB}, 0));
  EXPECT_TRUE(device.holds({1000 + 64_KiB, 1000}, 1));
}

TEST(Memory, TellsHolesFromData) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=memory,size=1M"));
  ASSERT_TRUE(device.write_pattern({8192, 8192}, 1));
  const Result<Extent> hole = device.status({0, 1_MiB});
  EXPECT_TRUE(hole->zero && !hole->data);
  EXPECT_EQ(hole->length, 8192u);
  const Result<Extent> data = device.status({9000, 1_MiB - 9000});
  EXPECT_TRUE(data->data && !data->zero);
  EXPECT_EQ(data->length, 16384u - 9000);
}

TEST(Memory, StopsAtItsLimit) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=memory,size=1M,limit=64k"));
  ASSERT_TRUE(device.write_pattern({0, 64_KiB}, 1));
  const Result<void> more = device.write_pattern({64_KiB, 1}, 1);
  EXPECT_EQ(more.error().code(), ErrorCode::kNoSpace);
  EXPECT_TRUE(device.write_pattern({0, 64_KiB}, 2));
}

TEST(Memory, TakesOnlyPowersOfTwoUpToAPageAsBlocks) {
  for (const char* size : {"0", "3", "8192", "18446744073709551615"}) {
    TestDevice device;
    const Result<void> opened = device.open(std::string("driver=memory,block-size=") + size);
    EXPECT_EQ(opened.error().reason(), "memory-block-size") << size;
  }
}

TEST(Memory, Conforms) {
  for (const int64_t block : {1, 512, 4096}) {
    ConformanceSubject subject;
    subject.runtime.io_loops = 2;
    subject.keeps = ConformanceSubject::Keeps::kWhileOpen;
    subject.flags.discard = OpenFlags::Discard::kUnmap;
    subject.make = [block](uint64_t size) {
      OptionDict options;
      options.set("driver", std::string("memory"));
      options.set("size", static_cast<int64_t>(size));
      options.set("block-size", block);
      return options;
    };
    EXPECT_EQ(run_conformance(subject), "") << "block size " << block;
  }
}

}  // namespace
}  // namespace ashlar
