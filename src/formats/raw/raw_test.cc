// Claims about raw images.
#include <gtest/gtest.h>

#include "testing/temporary_folder.h"
#include "testing/test_device.h"

namespace ashlar {
namespace {

TEST(Raw, IsTheFile) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a", std::string(4096, 'x'));
  TestDevice device;
  ASSERT_TRUE(device.open("driver=raw,file.driver=file,file.filename=" + path));
  EXPECT_EQ(device.size(), 4096u);
  ASSERT_TRUE(device.write_pattern({10, 3}, 'y'));
  EXPECT_TRUE(device.holds({10, 3}, 'y'));
  ASSERT_TRUE(device.close_medium());
  EXPECT_EQ(folder.content("a").substr(8, 7), "xxyyyxx");
}

}  // namespace
}  // namespace ashlar
