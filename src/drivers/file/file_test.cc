// Claims about files as devices: opening, names, sizes, flushes, reopening.
#include "drivers/file/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "drivers/file/file_driver.h"
#include "testing/temporary_folder.h"
#include "testing/test_device.h"

namespace ashlar {
namespace {

class File : public testing::Test {
 protected:
  Result<void> open(std::string_view name, std::string_view options = {}, OpenFlags flags = {}) {
    return device_.open("driver=file,filename=" + folder_.path(name) + "," + std::string(options),
                        flags);
  }
  std::string refusal(std::string_view name, std::string_view options = {}) {
    const Result<void> opened = open(name, options);
    if (!opened) return std::string(opened.error().reason());
    EXPECT_TRUE(device_.close_medium());
    return "opened";
  }
  Result<void> reopen(std::string_view options) {
    OptionDict change = *OptionDict::parse_key_value(options);
    change.set("node-name", device_.node().name());
    std::vector<OptionDict> changes;
    changes.push_back(std::move(change));
    return sync_wait(device_.runtime(), device_.graph().reopen(std::move(changes)));
  }

  TemporaryFolder folder_;
  TestDevice device_;
};

TEST_F(File, ReadsWhatWasWritten) {
  folder_.file("a", std::string(1_MiB, 'x'));
  ASSERT_TRUE(open("a"));
  EXPECT_EQ(device_.size(), 1_MiB);
  ASSERT_TRUE(device_.write_pattern({1000, 100'000}, 7));
  EXPECT_TRUE(device_.holds({1000, 100'000}, 7));
  EXPECT_TRUE(device_.holds({0, 1000}, 'x'));
  EXPECT_TRUE(device_.holds({101'000, 1000}, 'x'));
  ASSERT_TRUE(device_.flush());
  EXPECT_EQ(folder_.content("a").substr(999, 3), "x\7\7");
}

TEST_F(File, IsAWholeNumberOfSectorsWithZeroesAtTheEnd) {
  folder_.file("a", std::string(1000, 'x'));
  ASSERT_TRUE(open("a"));
  EXPECT_EQ(device_.size(), 1024u);
  EXPECT_TRUE(device_.holds({0, 1000}, 'x'));
  EXPECT_TRUE(device_.holds({1000, 24}, 0));
  ASSERT_TRUE(device_.write_pattern({1010, 4}, 'y'));
  EXPECT_TRUE(device_.holds({1000, 10}, 0));
  EXPECT_TRUE(device_.holds({1010, 4}, 'y'));
  ASSERT_TRUE(device_.close_medium());
  OpenFlags direct;
  direct.cache_direct = true;
  ASSERT_TRUE(open("a", "", direct));
  EXPECT_TRUE(device_.holds({990, 10}, 'x'));
  EXPECT_TRUE(device_.holds({1014, 10}, 0));
}

TEST_F(File, RefusesWhatIsNoRegularFile) {
  ASSERT_EQ(::mkfifo(folder_.path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal("pipe"), "file-not-regular");  // and does not wait for a writer
  EXPECT_EQ(refusal("."), "file-open");  // of writing; of reading it is told as what it is
  EXPECT_EQ(device_.open("driver=file,read-only=on,filename=" + folder_.path(".")).error().reason(),
            "file-not-regular");
  EXPECT_EQ(device_.open("driver=file,filename=/dev/null").error().reason(), "file-not-regular");
  EXPECT_EQ(device_.open("driver=host_device,filename=" + folder_.file("a")).error().reason(),
            "file-not-device");
}

TEST_F(File, KeepsTheSystemsReasonForNotOpening) {
  const Result<void> missing = open("missing");
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(missing.error().os_error(), ENOENT);
  EXPECT_EQ(missing.error().reason(), "file-open");
  EXPECT_EQ(missing.error().message(),
            "open \"" + folder_.path("missing") + "\": no such file or directory");
  folder_.file("a");
  EXPECT_EQ(open("a/b").error().os_error(), ENOTDIR);
}

TEST_F(File, ChecksItsOptions) {
  folder_.file("a", std::string(512, 'x'));
  EXPECT_EQ(device_.open("driver=file").error().reason(), "file-name-missing");
  EXPECT_EQ(refusal("a", "locking=maybe"), "file-option-choice");
  EXPECT_EQ(refusal("a", "aio=fast"), "file-option-choice");
  EXPECT_EQ(refusal("a", "aio=native"), "file-native-needs-direct");
  EXPECT_EQ(refusal("a", "aio=native,cache.direct=on"), "opened");
  EXPECT_EQ(refusal("a", "aio=threads"), "opened");
  EXPECT_EQ(refusal("a", "aio=io_uring,locking=on,drop-cache=off"), "opened");
  EXPECT_EQ(refusal("a", "drop-cache=maybe"), "option-switch");
}

TEST_F(File, GrowsByWritesPastItsEndOnlyUnderFormats) {
  folder_.file("a", std::string(512, 'x'));
  ASSERT_TRUE(open("a"));
  EXPECT_EQ(device_.node().info().end, NodeInfo::End::kGrows);
  EXPECT_EQ(device_.write_pattern({512, 512}, 1).error().code(), ErrorCode::kOutOfRange);
  EXPECT_EQ(std::filesystem::file_size(folder_.path("a")), 512u);
}

TEST_F(File, ResizesWithAndWithoutRoom) {
  folder_.file("a", std::string(4096, 'x'));
  ASSERT_TRUE(open("a"));
  const auto allocated = [this] { return *device_.node().driver().allocated_size(); };
  ASSERT_TRUE(device_.resize(1_MiB));
  EXPECT_LT(allocated(), 64_KiB);
  ResizeFlags flags;
  flags.preallocation = Preallocation::kFalloc;
  ASSERT_TRUE(device_.resize(2_MiB, flags));
  EXPECT_GE(allocated(), 1_MiB);
  flags.preallocation = Preallocation::kFull;
  ASSERT_TRUE(device_.resize(3_MiB, flags));
  EXPECT_GE(allocated(), 2_MiB);
  EXPECT_TRUE(device_.holds({4096, 3_MiB - 4096}, 0));
  EXPECT_EQ(device_.resize(1_MiB, flags).error().reason(), "file-preallocation-shrink");
  flags.preallocation = Preallocation::kMetadata;
  EXPECT_EQ(device_.resize(4_MiB, flags).error().reason(), "file-preallocation");
  EXPECT_EQ(device_.size(), 3_MiB);
  EXPECT_EQ(device_.resize(kMaxDeviceSize).error().reason(), "file-resize");
  EXPECT_EQ(device_.size(), 3_MiB);
}

TEST_F(File, WritesRoomForDirectAccessToo) {
  folder_.file("a", std::string(1000, 'x'));
  OpenFlags direct;
  direct.cache_direct = true;
  ASSERT_TRUE(open("a", "", direct));
  ResizeFlags flags;
  flags.preallocation = Preallocation::kFull;
  ASSERT_TRUE(device_.resize(100'000, flags));
  EXPECT_TRUE(device_.holds({0, 1000}, 'x'));
  EXPECT_TRUE(device_.holds({1000, 99'000}, 0));
}

TEST_F(File, GivesSpaceBack) {
  OpenFlags flags;
  flags.discard = OpenFlags::Discard::kUnmap;
  folder_.file("a", std::string(1_MiB, 'x'));
  ASSERT_TRUE(open("a", "", flags));
  ASSERT_TRUE(device_.flush());
  ASSERT_TRUE(device_.discard({64_KiB, 512_KiB}));
  EXPECT_LE(*device_.node().driver().allocated_size(), 576_KiB);
  EXPECT_TRUE(device_.holds({64_KiB, 512_KiB}, 0));
  ZeroFlags unmap;
  unmap.may_unmap = true;
  ASSERT_TRUE(device_.write_zeroes({0, 1_MiB}, unmap));
  EXPECT_LE(*device_.node().driver().allocated_size(), 64_KiB);
  EXPECT_EQ(std::filesystem::file_size(folder_.path("a")), 1_MiB);
}

TEST_F(File, KeepsSpaceWhenZeroesMustNotUnmap) {
  folder_.file("a", std::string(1_MiB, 'x'));
  ASSERT_TRUE(open("a"));
  ASSERT_TRUE(device_.flush());
  ASSERT_TRUE(device_.write_zeroes({0, 1_MiB}));
  EXPECT_GE(*device_.node().driver().allocated_size(), 1_MiB);
  EXPECT_TRUE(device_.holds({0, 1_MiB}, 0));
}

TEST_F(File, IsReopenedForWritingAndBack) {
  folder_.file("a", std::string(4096, 'x'));
  OpenFlags flags;
  flags.read_only = true;
  ASSERT_TRUE(open("a", "", flags));
  ASSERT_TRUE(reopen("read-only=off"));
  ASSERT_TRUE(device_.backend().set_permissions(Permission::kConsistentRead | Permission::kWrite,
                                                Permissions::all()));
  ASSERT_TRUE(device_.write_pattern({0, 512}, 'y'));
  ASSERT_TRUE(reopen("cache.direct=on"));
  EXPECT_GE(device_.node().info().request_alignment, 512u);
  ASSERT_TRUE(device_.write_pattern({1, 3}, 'z'));
  ASSERT_TRUE(reopen("cache.direct=off,cache.no-flush=on"));
  EXPECT_EQ(device_.node().info().request_alignment, 1u);
  EXPECT_TRUE(device_.holds({0, 1}, 'y'));
  EXPECT_TRUE(device_.holds({1, 3}, 'z'));
  EXPECT_FALSE(reopen("read-only=on"));  // while it is written to
  ASSERT_TRUE(device_.backend().set_permissions(Permission::kConsistentRead, Permissions::all()));
  ASSERT_TRUE(reopen("read-only=on"));
  EXPECT_TRUE(device_.holds({4, 500}, 'y'));
}

TEST_F(File, IsReopenedThoughItsNameHasGone) {
  folder_.file("a", std::string(4096, 'x'));
  ASSERT_TRUE(open("a"));
  std::filesystem::remove(folder_.path("a"));
  folder_.file("a", std::string(4096, 'n'));  // another file of that name
  ASSERT_TRUE(reopen("cache.direct=on"));
  EXPECT_TRUE(device_.holds({0, 4096}, 'x'));
}

TEST_F(File, KeepsItsLocksWhenReopened) {
  folder_.file("a", std::string(4096, 'x'));
  ASSERT_TRUE(open("a"));
  ASSERT_TRUE(device_.backend().set_permissions(Permission::kConsistentRead | Permission::kWrite,
                                                Permission::kConsistentRead));
  ASSERT_TRUE(reopen("cache.direct=on"));
  TestDevice other;
  EXPECT_EQ(other.open("driver=file,filename=" + folder_.path("a")).error().code(),
            ErrorCode::kLocked);
}

TEST_F(File, RefusesToReopenAsAnotherFile) {
  folder_.file("a", std::string(4096, 'x'));
  ASSERT_TRUE(open("a"));
  EXPECT_EQ(reopen("filename=other").error().reason(), "reopen-option");
  EXPECT_EQ(reopen("locking=off").error().reason(), "reopen-option");
  EXPECT_EQ(reopen("aio=native").error().reason(), "file-native-needs-direct");
  EXPECT_TRUE(reopen("aio=io_uring,filename=" + folder_.path("a")));
}

TEST_F(File, ReadsNamesWithAndWithoutAPrefix) {
  const auto parsed = [](std::string_view name) {
    const OptionDict options = *file_driver.parse_filename(name);
    return options.text("driver").value_or("-") + " " + *options.text("filename");
  };
  EXPECT_EQ(parsed("a.img"), "- a.img");
  EXPECT_EQ(parsed("file:a.img"), "- a.img");
  EXPECT_EQ(parsed("file:a:b"), "- ./a:b");
  EXPECT_EQ(parsed("file:/x/a:b"), "- /x/a:b");
  EXPECT_EQ(parsed("/dev/null"), "host_device /dev/null");
  EXPECT_EQ(parsed("file:///dev/null"), "host_device ///dev/null");
  EXPECT_EQ(*host_device_driver.parse_filename("host_device:/x")->text("filename"), "/x");
}

// The driver alone, on descriptors that fail in known ways.

std::unique_ptr<Driver> driver_on(int fd, file::Flavor flavor, const Runtime& runtime) {
  file::FileSetup setup;
  setup.path = "test";
  setup.flavor = flavor;
  setup.loops = runtime.loop_count();
  return std::make_unique<file::FileDriver>(std::move(setup), file::Descriptor(fd),
                                            file::Alignment(), file::ByteLocks());
}

TEST(FileErrors, AFailedFlushIsNeverForgotten) {
  const std::unique_ptr<Runtime> runtime = Runtime::create();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const file::Descriptor other_end(ends[0]);
  const auto driver = driver_on(ends[1], file::Flavor::kFile, *runtime);
  EXPECT_EQ(sync_wait(*runtime, driver->flush()).error().os_error(), EINVAL);
  EXPECT_EQ(sync_wait(*runtime, driver->flush()).error().reason(), "flush-failed-before");
  const std::byte byte{};
  const ConstBuffers from(&byte, 1);
  WriteFlags durable;
  durable.fua = true;
  EXPECT_EQ(sync_wait(*runtime, driver->write({0, 1}, from, durable)).error().reason(),
            "flush-failed-before");
}

TEST(FileErrors, AFullDeviceIsNoSpace) {
  const std::unique_ptr<Runtime> runtime = Runtime::create();
  const auto driver =
      driver_on(::open("/dev/full", O_RDWR | O_CLOEXEC), file::Flavor::kHostDevice, *runtime);
  const std::vector<std::byte> bytes(512);
  const Result<void> small = sync_wait(*runtime, driver->write({0, 512}, ConstBuffers(bytes), {}));
  EXPECT_EQ(small.error().code(), ErrorCode::kNoSpace);
  const std::vector<std::byte> more(1_MiB);
  const Result<void> large = sync_wait(*runtime, driver->write({0, 1_MiB}, ConstBuffers(more), {}));
  EXPECT_EQ(large.error().code(), ErrorCode::kNoSpace);
  EXPECT_EQ(large.error().message(),
            "write 1048576 bytes at 0x0 of \"test\": no space left on device");
}

}  // namespace
}  // namespace ashlar
