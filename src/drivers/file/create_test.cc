// Claims about making files.
#include "drivers/file/create.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "ashlar/loop.h"
#include "drivers/file/descriptor.h"
#include "drivers/file/locks.h"
#include "testing/temporary_folder.h"

namespace ashlar::file {
namespace {

struct Create : testing::Test {
  Result<void> create(const std::string& name, std::string_view options) {
    OptionDict parsed = *OptionDict::parse_key_value(options);
    return sync_wait(*runtime, create_file(folder.path(name), std::move(parsed)));
  }
  std::string refusal(const std::string& name, std::string_view options) {
    const Result<void> created = create(name, options);
    return created ? "created" : std::string(created.error().reason());
  }
  struct stat facts(const std::string& name) {
    struct stat status = {};
    EXPECT_EQ(::stat(folder.path(name).c_str(), &status), 0);
    return status;
  }
  TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime = Runtime::create();
};

TEST_F(Create, MakesAHoleOfWholeSectors) {
  ASSERT_TRUE(create("a", "size=1000001"));
  EXPECT_EQ(facts("a").st_size, 1000448);
  EXPECT_LE(facts("a").st_blocks * 512, 4096);
  EXPECT_EQ(facts("a").st_mode & 0777u & ~0644u, 0u);
}

TEST_F(Create, AllocatesTheFirstBlockForThoseWhoTryDirectAccess) {
  ASSERT_TRUE(create("a", "size=1M"));
  EXPECT_EQ(facts("a").st_blocks * 512, 4096);
  ASSERT_TRUE(create("b", "size=512"));
  EXPECT_EQ(facts("b").st_size, 512);
  ASSERT_TRUE(create("c", "size=0"));
  EXPECT_EQ(facts("c").st_size, 0);
}

TEST_F(Create, ReservesOrWritesRoom) {
  ASSERT_TRUE(create("a", "size=1M,preallocation=falloc"));
  EXPECT_GE(facts("a").st_blocks * 512, 1048576);
  ASSERT_TRUE(create("b", "size=1M,preallocation=full"));
  EXPECT_GE(facts("b").st_blocks * 512, 1048576);
  EXPECT_EQ(folder.content("b"), std::string(1_MiB, '\0'));
}

TEST_F(Create, EmptiesTheFileThatIsThere) {
  folder.file("a", std::string(100'000, 'x'));
  ASSERT_TRUE(create("a", "size=64k"));
  EXPECT_EQ(folder.content("a"), std::string(64_KiB, '\0'));
}

TEST_F(Create, DoesNotTouchAFileInUse) {
  const std::string path = folder.file("a", "precious");
  const Descriptor user = open_path(path, O_RDWR).descriptor;
  ByteLocks locks(user.get(), path);
  ASSERT_TRUE(locks.change(Permission::kConsistentRead,
                           Permission::kConsistentRead | Permission::kWriteUnchanged));
  EXPECT_EQ(refusal("a", "size=1M"), "lock-used");
  EXPECT_EQ(folder.content("a"), "precious");
  ASSERT_TRUE(locks.change(Permission::kConsistentRead | Permission::kResize, Permissions::all()));
  EXPECT_EQ(refusal("a", "size=1M"), "lock-shared");
  EXPECT_EQ(folder.content("a"), "precious");
}

TEST_F(Create, LeavesNothingBehindWhenItFails) {
  EXPECT_EQ(refusal("a", "size=7E"), "file-resize");
  EXPECT_FALSE(std::filesystem::exists(folder.path("a")));
}

TEST_F(Create, RefusesWhatFilesCannotHave) {
  EXPECT_EQ(refusal("a", "size=8E"), "file-resize");
  EXPECT_EQ(refusal("a", "size=1M,preallocation=metadata"), "file-preallocation");
  EXPECT_EQ(refusal("a", "size=1M,preallocation=some"), "file-preallocation-word");
  EXPECT_EQ(refusal("a", "size=1M,extent_size_hint=5G"), "file-extent-size-hint");
  EXPECT_EQ(refusal("a", "size=1M,nocow=maybe"), "option-switch");
  EXPECT_EQ(refusal("a", "size=1M,other=1"), "option-unknown");
  EXPECT_EQ(refusal("missing/a", "size=1M"), "file-create");
  EXPECT_EQ(refusal(".", "size=1M"), "file-create");
  ASSERT_EQ(::mkfifo(folder.path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal("pipe", "size=1M"), "file-not-regular");
  EXPECT_TRUE(std::filesystem::is_fifo(folder.path("pipe")));
}

TEST_F(Create, AcceptsHintsThatTheFileSystemDoesNotKnow) {
  EXPECT_EQ(refusal("a", "size=1M,nocow=on,extent_size_hint=2M"), "created");
  EXPECT_EQ(refusal("a", "size=1M,extent_size_hint=0"), "created");
}

TEST_F(Create, DeletesWhatItMade) {
  ASSERT_TRUE(create("a", "size=1M"));
  EXPECT_TRUE(sync_wait(*runtime, delete_file(folder.path("a"))));
  EXPECT_FALSE(std::filesystem::exists(folder.path("a")));
  EXPECT_EQ(sync_wait(*runtime, delete_file(folder.path("a"))).error().code(),
            ErrorCode::kNotFound);
}

TEST_F(Create, WantsADeviceToBeThereAndLargeEnough) {
  const auto on_device = [this](std::string name, std::string_view options) {
    OptionDict parsed = *OptionDict::parse_key_value(options);
    const Result<void> done =
        sync_wait(*runtime, create_on_device(std::move(name), std::move(parsed)));
    return done ? "created" : std::string(done.error().reason());
  };
  EXPECT_EQ(on_device("host_device:/dev/null", "size=0"), "created");
  EXPECT_EQ(on_device("/dev/null", "size=1M"), "device-too-small");
  EXPECT_EQ(on_device(folder.file("a"), "size=0"), "file-not-device");
  EXPECT_EQ(on_device(folder.path("b"), "size=0"), "file-create");
}

}  // namespace
}  // namespace ashlar::file
