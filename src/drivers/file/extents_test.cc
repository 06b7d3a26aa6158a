// Claims about finding and remembering holes.
#include "drivers/file/extents.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "drivers/file/descriptor.h"
#include "testing/temporary_folder.h"
#include "testing/test_device.h"

namespace ashlar::file {
namespace {

TEST(FindExtent, TellsDataFromHoles) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a", std::string(64_KiB, 'x'));
  std::filesystem::resize_file(path, 1_MiB);
  const Descriptor file = open_path(path, O_RDWR).descriptor;
  const FileExtent data = find_extent(file.get(), 1000);
  EXPECT_TRUE(data.data);
  EXPECT_EQ(data.end, 64_KiB);
  const FileExtent hole = find_extent(file.get(), 100'000);
  EXPECT_FALSE(hole.data);
  EXPECT_GE(hole.end, 1_MiB);
  EXPECT_FALSE(find_extent(file.get(), 2_MiB).data);
}

TEST(FindExtent, CallsDataWhatItCannotTell) {
  const Descriptor nothing = open_path("/dev/null", O_RDONLY).descriptor;
  const FileExtent extent = find_extent(nothing.get(), 0);
  EXPECT_TRUE(extent.data || extent.end > 1_TiB);  // never a short hole
  EXPECT_TRUE(find_extent(-1, 0).data);
}

TEST(ExtentMemory, RecallsDataUntilSomethingIsRemoved) {
  ExtentMemory memory;
  memory.remember({100, 200, true}, {5, 7});
  EXPECT_TRUE(memory.recall(150, {5, 7}, false).has_value());
  EXPECT_TRUE(memory.recall(150, {6, 7}, false).has_value());
  EXPECT_FALSE(memory.recall(150, {5, 8}, true).has_value());
  EXPECT_FALSE(memory.recall(99, {5, 7}, true).has_value());
  EXPECT_FALSE(memory.recall(200, {5, 7}, true).has_value());
}

TEST(ExtentMemory, RecallsHolesOnlyWhileNobodyWrites) {
  ExtentMemory memory;
  memory.remember({100, 200, false}, {5, 7});
  EXPECT_TRUE(memory.recall(150, {5, 7}, true).has_value());
  EXPECT_FALSE(memory.recall(150, {5, 7}, false).has_value());
  EXPECT_FALSE(memory.recall(150, {6, 7}, true).has_value());
}

class FileStatus : public testing::Test {
 protected:
  void open(OpenFlags flags = {}) {
    std::filesystem::resize_file(folder_.file("a", std::string(64_KiB, 'x')), 1_MiB);
    ASSERT_TRUE(device_.open("driver=file,filename=" + folder_.path("a"), flags));
  }
  void be_alone() {
    ASSERT_TRUE(device_.backend().set_permissions(Permission::kConsistentRead | Permission::kWrite,
                                                  Permission::kConsistentRead));
  }
  bool zero(ByteRange range) { return device_.status(range)->zero; }

  TemporaryFolder folder_;
  TestDevice device_;
};

TEST_F(FileStatus, SeesOwnWritesIntoHolesItKnew) {
  open();
  be_alone();
  EXPECT_TRUE(zero({512_KiB, 4096}));
  ASSERT_TRUE(device_.write_pattern({512_KiB, 4096}, 1));
  EXPECT_FALSE(zero({512_KiB, 4096}));
}

TEST_F(FileStatus, SeesWritesOfOthersIntoHolesItKnew) {
  open();  // shares writing with others
  EXPECT_TRUE(zero({512_KiB, 4096}));
  TestDevice other;
  ASSERT_TRUE(other.open("driver=file,filename=" + folder_.path("a")));
  ASSERT_TRUE(other.write_pattern({512_KiB, 4096}, 1));
  EXPECT_FALSE(zero({512_KiB, 4096}));
}

TEST_F(FileStatus, SeesWhatWasDiscardedOrZeroedOrCut) {
  OpenFlags flags;
  flags.discard = OpenFlags::Discard::kUnmap;
  open(flags);
  EXPECT_FALSE(zero({0, 4096}));
  ASSERT_TRUE(device_.discard({0, 4096}));
  EXPECT_TRUE(zero({0, 4096}));
  ZeroFlags unmap;
  unmap.may_unmap = true;
  EXPECT_FALSE(zero({8192, 4096}));
  ASSERT_TRUE(device_.write_zeroes({8192, 4096}, unmap));
  EXPECT_TRUE(zero({8192, 4096}));
  EXPECT_FALSE(zero({16384, 4096}));
  ASSERT_TRUE(device_.resize(16384));
  ASSERT_TRUE(device_.resize(1_MiB));
  EXPECT_TRUE(zero({16384, 4096}));
}

TEST_F(FileStatus, EndsWhereTheFileEnds) {
  std::filesystem::resize_file(folder_.file("b", std::string(1000, 'x')), 1000);
  ASSERT_TRUE(device_.open("driver=file,filename=" + folder_.path("b")));
  EXPECT_EQ(device_.size(), 1024u);
  EXPECT_EQ(device_.status({0, 1024})->length, 1000u);
  const Result<Extent> tail = device_.status({1000, 24});
  EXPECT_TRUE(tail->zero);
  EXPECT_EQ(tail->length, 24u);
}

}  // namespace
}  // namespace ashlar::file
