// Claims about byte locks, also against the programs they are there for.
#include "drivers/file/locks.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "drivers/file/descriptor.h"
#include "testing/peer_process.h"
#include "testing/temporary_folder.h"
#include "testing/test_device.h"

namespace ashlar::file {
namespace {

constexpr Permissions kRead = Permission::kConsistentRead;
constexpr Permissions kReadWrite = Permission::kConsistentRead | Permission::kWrite;
constexpr Permissions kShareReading = Permission::kConsistentRead | Permission::kWriteUnchanged;

/// One user of a file, with a description of its own.
struct User {
  explicit User(const std::string& path)
      : descriptor(open_path(path, O_RDWR).descriptor), locks(descriptor.get(), path) {}
  std::string change(Permissions used, Permissions shared) {
    const Result<void> done = locks.change(used, shared);
    if (done) return "taken";
    return std::string(done.error().reason()) + " " + done.error().values()[0];
  }
  Descriptor descriptor;
  ByteLocks locks;
};

struct Locks : testing::Test {
  TemporaryFolder folder;
  std::string path = folder.file("a", "x");
};

TEST_F(Locks, LetUsersShareWhatBothShare) {
  User first(path), second(path);
  EXPECT_EQ(first.change(kReadWrite, Permissions::all()), "taken");
  EXPECT_EQ(second.change(kReadWrite, Permissions::all()), "taken");
}

TEST_F(Locks, RefuseWhatAnotherDoesNotShare) {
  User first(path), second(path);
  EXPECT_EQ(first.change(kReadWrite, kShareReading), "taken");
  EXPECT_EQ(second.change(kReadWrite, Permissions::all()), "lock-used write");
  EXPECT_EQ(second.change(kRead, Permissions::all()), "taken");
}

TEST_F(Locks, RefuseToKeepOthersFromWhatTheyDo) {
  User first(path), second(path);
  EXPECT_EQ(first.change(kReadWrite, Permissions::all()), "taken");
  EXPECT_EQ(second.change(kRead, kShareReading), "lock-shared write");
  EXPECT_EQ(second.change(kRead, Permissions::all()), "taken");
}

TEST_F(Locks, ChangeNothingWhenRefused) {
  User first(path), second(path), third(path);
  EXPECT_EQ(second.change(kRead, Permissions::all()), "taken");
  EXPECT_EQ(first.change(kReadWrite, Permissions::all()), "taken");
  EXPECT_EQ(second.change(Permissions::all(), kShareReading), "lock-shared write");
  // Neither the second's new uses nor what it wanted to keep from others are left behind.
  EXPECT_EQ(third.change(kReadWrite, Permissions::all().without(Permission::kResize)), "taken");
  EXPECT_EQ(third.change(kReadWrite, Permissions::all().without(Permission::kConsistentRead)),
            "lock-shared consistent read");
}

TEST_F(Locks, AreGivenUpBySharingMoreAndUsingLess) {
  User first(path), second(path);
  EXPECT_EQ(first.change(kReadWrite, kShareReading), "taken");
  EXPECT_EQ(first.change(kRead, Permissions::all()), "taken");
  EXPECT_EQ(second.change(kReadWrite, kShareReading), "taken");
}

TEST_F(Locks, VanishWithTheDescriptor) {
  User second(path);
  {
    User first(path);
    EXPECT_EQ(first.change(kReadWrite, kShareReading), "taken");
    EXPECT_EQ(second.change(kReadWrite, kShareReading), "lock-used write");
  }
  EXPECT_EQ(second.change(kReadWrite, kShareReading), "taken");
}

TEST_F(Locks, MoveToAnotherDescriptorWithoutAGap) {
  User first(path), second(path);
  EXPECT_EQ(first.change(kReadWrite, kShareReading), "taken");
  Descriptor next = open_path(path, O_RDONLY).descriptor;
  EXPECT_TRUE(first.locks.move_to(next.get()));
  first.descriptor = Descriptor();
  EXPECT_EQ(second.change(kReadWrite, Permissions::all()), "lock-used write");
  EXPECT_EQ(first.change(kRead, Permissions::all()), "taken");
  EXPECT_EQ(second.change(kReadWrite, kShareReading), "taken");
}

TEST_F(Locks, NameTheByteThatAStrangerHolds) {
  User stranger(path), user(path);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_start = 100;
  lock.l_len = 1;
  ASSERT_EQ(::fcntl(stranger.descriptor.get(), F_OFD_SETLK, &lock), 0);
  EXPECT_EQ(user.change(kRead, Permissions::all()), "lock-byte 100");
}

// Against the peer's tools. A format driver that writes keeps others from writing and resizing.

struct LocksAndPeer : Locks {
  void SetUp() override {
    ASSERT_TRUE(run_command("qemu-img create -q -f qcow2 " + image + " 1M").succeeded);
  }
  /// Waits until another process holds a lock on `byte`.
  bool wait_for_lock(off_t byte) {
    const Descriptor descriptor = open_path(image, O_RDWR).descriptor;
    for (int turn = 0; turn < 1000; ++turn) {
      struct flock lock = {};
      lock.l_type = F_WRLCK;
      lock.l_start = byte;
      lock.l_len = 1;
      if (::fcntl(descriptor.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  std::string image = folder.path("image");
};

TEST_F(LocksAndPeer, WeAreRefusedWhileItWrites) {
  const WaitingCommand peer("qemu-io -f qcow2 " + image + " >/dev/null 2>&1");
  ASSERT_TRUE(wait_for_lock(203));
  User user(image);
  EXPECT_EQ(user.change(kReadWrite, Permissions::all()), "lock-used write");
  EXPECT_EQ(user.change(kRead, kShareReading), "lock-shared write");
  EXPECT_EQ(user.change(kRead | Permission::kResize, Permissions::all()), "lock-used resize");
  EXPECT_EQ(user.change(kRead, Permissions::all()), "taken");
}

TEST_F(LocksAndPeer, WeAreRefusedToWriteWhileItReads) {
  const WaitingCommand peer("qemu-io -r -f qcow2 " + image + " >/dev/null 2>&1");
  ASSERT_TRUE(wait_for_lock(203));
  User user(image);
  EXPECT_EQ(user.change(kReadWrite, kShareReading), "lock-used write");
  EXPECT_EQ(user.change(kRead, kShareReading), "taken");
}

TEST_F(LocksAndPeer, ItIsRefusedWhileWeWrite) {
  User user(image);
  ASSERT_EQ(user.change(kReadWrite | Permission::kResize, kShareReading), "taken");
  const CommandResult writing = run_command("qemu-io -f qcow2 -c quit " + image);
  EXPECT_NE(writing.output.find("Failed to get \"write\" lock"), std::string::npos)
      << writing.output;
  const CommandResult reading = run_command("qemu-img check -f qcow2 " + image);
  EXPECT_NE(reading.output.find("Failed to get shared \"write\" lock"), std::string::npos)
      << reading.output;
  const CommandResult sharing = run_command("qemu-io -r -U -f qcow2 -c quit " + image);
  EXPECT_TRUE(sharing.succeeded) << sharing.output;
  const CommandResult creating = run_command("qemu-img create -f raw " + image + " 2M");
  EXPECT_NE(creating.output.find("Failed to get \"write\" lock"), std::string::npos)
      << creating.output;
}

TEST_F(LocksAndPeer, ItIsRefusedToWriteWhileWeReadAsAFormatDoes) {
  User user(image);
  ASSERT_EQ(user.change(kRead, kShareReading), "taken");
  const CommandResult writing = run_command("qemu-io -f qcow2 -c quit " + image);
  EXPECT_NE(writing.output.find("Failed to get \"write\" lock"), std::string::npos)
      << writing.output;
  EXPECT_TRUE(run_command("qemu-io -r -f qcow2 -c 'read 0 512' " + image).succeeded);
}

TEST_F(LocksAndPeer, AnOpenedDeviceHoldsItsLocksUntilItIsClosed) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=file,filename=" + image));
  ASSERT_TRUE(device.backend().set_permissions(kReadWrite, kShareReading));
  EXPECT_FALSE(run_command("qemu-io -f qcow2 -c quit " + image).succeeded);
  ASSERT_TRUE(device.close_medium());
  EXPECT_TRUE(run_command("qemu-io -f qcow2 -c quit " + image).succeeded);
}

TEST_F(LocksAndPeer, LockingCanBeTurnedOff) {
  TestDevice device;
  ASSERT_TRUE(device.open("driver=file,locking=off,filename=" + image));
  ASSERT_TRUE(device.backend().set_permissions(kReadWrite, kShareReading));
  EXPECT_TRUE(run_command("qemu-io -f qcow2 -c quit " + image).succeeded);
}

}  // namespace
}  // namespace ashlar::file
