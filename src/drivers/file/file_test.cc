// Claims about files as devices: opening, reading, writing, sizes.
#include <gtest/gtest.h>

#include <filesystem>

#include "testing/temporary_folder.h"
#include "testing/test_device.h"

namespace ashlar {
namespace {

TEST(File, ReadsWhatWasWritten) {
  const TemporaryFolder folder;
  TestDevice device;
  ASSERT_TRUE(device.open("driver=file,filename=" + folder.file("a", std::string(1_MiB, 'x'))));
  EXPECT_EQ(device.size(), 1_MiB);
  ASSERT_TRUE(device.write_pattern({1000, 100'000}, 7));
  EXPECT_TRUE(device.holds({1000, 100'000}, 7));
  EXPECT_TRUE(device.holds({0, 1000}, 'x'));
  EXPECT_TRUE(device.holds({101'000, 1000}, 'x'));
  ASSERT_TRUE(device.flush());
  EXPECT_EQ(folder.content("a").substr(999, 3), "x\7\7");
}

}  // namespace
}  // namespace ashlar
