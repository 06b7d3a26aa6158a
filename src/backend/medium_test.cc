// Inserting, ejecting and changing the medium, with trays, locks, drains and failures.
#include <gtest/gtest.h>

#include <array>

#include "testing/graph_world.h"

namespace ashlar {
namespace {

constexpr Permissions kReadWrite = Permission::kConsistentRead | Permission::kWrite;
using Eject = Backend::Eject;

/// A removable device: everything it is told, in order.
struct Drive final : DeviceCallbacks {
  std::string describe() const override { return "drive"; }
  void medium_changed(Medium change) override {
    events += change == Medium::kInserted ? 'I' : change == Medium::kRemoved ? 'R' : 'C';
  }
  bool eject_requested() override {
    events += 'e';
    return !locked;
  }
  bool tray_locked() const override { return locked; }
  bool tray_open() const override { return open; }
  bool has_tray() const override { return tray; }
  void tray_moved(bool to) override {
    open = to;
    events += to ? 'o' : 'c';
  }
  bool tray = true;
  bool open = false;
  bool locked = false;
  std::string events;
};

struct TwoDisks {
  TwoDisks() {
    for (const char* name : {"a", "b"}) world.world().files[name] = make_file(1024, name[0]);
    a = *world.open(R"({"driver":"memory","node-name":"na","filename":"a"})");
    b = *world.open(R"({"driver":"memory","node-name":"nb","filename":"b"})");
    backend = *world.graph().create_backend("cd");
  }
  Result<void> insert(const NodeRef& node) { return world.wait(backend->insert_medium(node)); }
  Result<void> eject(Eject how) { return world.wait(backend->eject_medium(how)); }
  Result<void> change(const NodeRef& node, Eject how) {
    return world.wait(backend->change_medium(node, how));
  }
  std::string content() {
    const Result<std::string> read = world.read(*backend, {0, 1});
    return read ? *read : std::string(read.error().reason());
  }
  WorldGraph world;
  NodeRef a, b;
  BackendRef backend;
};

TEST(Medium, IsInsertedOnlyWhereThereIsNone) {
  TwoDisks disks;
  ASSERT_TRUE(disks.insert(disks.a));
  const Result<void> refused = disks.insert(disks.b);
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
  EXPECT_EQ(refused.error().reason(), "medium-present");
  EXPECT_EQ(disks.content(), "a");
  EXPECT_EQ(disks.insert(NodeRef()).error().code(), ErrorCode::kInvalidArgument);
}

TEST(Medium, IsEjectedAndThatAgainIsNoError) {
  TwoDisks disks;
  ASSERT_TRUE(disks.insert(disks.a));
  EXPECT_TRUE(disks.eject(Eject::kAsk));
  EXPECT_EQ(disks.content(), "no-medium");
  EXPECT_TRUE(disks.eject(Eject::kAsk));
  EXPECT_TRUE(disks.insert(disks.b));
  EXPECT_EQ(disks.content(), "b");
}

TEST(Medium, IsInsertedWholeOrNotAtAll) {
  TwoDisks disks;
  ASSERT_TRUE(disks.backend->set_permissions(kReadWrite, Permissions::all()));
  disks.world.world().permissions.arm(1);
  EXPECT_FALSE(disks.insert(disks.a));
  EXPECT_FALSE(disks.backend->has_medium());
  EXPECT_EQ(disks.a->used(), Permissions::none());
  EXPECT_TRUE(disks.insert(disks.a));
  EXPECT_EQ(disks.a->used(), kReadWrite);
}

TEST(Medium, OfATrayIsInsertedWhenThatIsOpen) {
  TwoDisks disks;
  Drive drive;
  ASSERT_TRUE(disks.backend->attach_device(drive, Backend::Origin::kIndependent));
  EXPECT_EQ(disks.insert(disks.a).error().reason(), "tray-closed");
  drive.open = true;
  EXPECT_TRUE(disks.insert(disks.a));
  EXPECT_EQ(drive.events, "I");
  disks.backend->detach_device();
}

TEST(Medium, IsKeptByALockedDriveUnlessForced) {
  TwoDisks disks;
  ASSERT_TRUE(disks.insert(disks.a));
  Drive drive;
  drive.locked = true;
  ASSERT_TRUE(disks.backend->attach_device(drive, Backend::Origin::kIndependent));
  for (int i = 0; i < 2; ++i) {
    const Result<void> refused =
        i == 0 ? disks.eject(Eject::kAsk) : disks.change(disks.b, Eject::kAsk);
    EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
    EXPECT_EQ(refused.error().reason(), "device-locked");
  }
  EXPECT_EQ(drive.events, "ee");
  EXPECT_EQ(disks.content(), "a");
  EXPECT_TRUE(disks.eject(Eject::kForce));
  EXPECT_EQ(drive.events, "eeoR");  // the tray opens, the medium goes
  disks.backend->detach_device();
}

TEST(ChangeMedium, IsToldOnce) {
  TwoDisks disks;
  ASSERT_TRUE(disks.insert(disks.a));
  Drive drive;
  drive.tray = false;
  ASSERT_TRUE(disks.backend->attach_device(drive, Backend::Origin::kIndependent));
  ASSERT_TRUE(disks.change(disks.b, Eject::kAsk));
  EXPECT_EQ(drive.events, "eC");
  EXPECT_EQ(disks.content(), "b");
  drive.tray = true;
  drive.events.clear();
  ASSERT_TRUE(disks.change(disks.a, Eject::kForce));
  EXPECT_EQ(drive.events, "oCc");
  ASSERT_TRUE(disks.eject(Eject::kForce));
  drive.events.clear();
  ASSERT_TRUE(disks.change(disks.a, Eject::kAsk));
  EXPECT_EQ(drive.events, "Ic");  // it was empty, and its tray open
  disks.backend->detach_device();
}

TEST(ChangeMedium, ThatFailsLeavesTheOldOneAndTellsNobody) {
  TwoDisks disks;
  ASSERT_TRUE(disks.backend->set_permissions(kReadWrite, Permissions::all()));
  ASSERT_TRUE(disks.insert(disks.a));
  Drive drive;
  ASSERT_TRUE(disks.backend->attach_device(drive, Backend::Origin::kIndependent));
  for (uint64_t nth = 1; nth <= 2; ++nth) {
    disks.world.world().permissions.arm(nth);
    EXPECT_FALSE(disks.change(disks.b, Eject::kForce)) << nth;
    EXPECT_EQ(disks.content(), "a");
    EXPECT_EQ(disks.b->used(), Permissions::none());
    EXPECT_EQ(disks.a->used(), kReadWrite);
    EXPECT_EQ(drive.events, "");
    EXPECT_FALSE(drive.open);
  }
  disks.backend->detach_device();
}

TEST(ChangeMedium, LetsRequestsFinishOnTheOldOne) {
  struct Steps {
    static Task<void> read(Backend& backend, char expected) {
      std::array<std::byte, 1024> bytes;
      const MutableBuffers into(bytes.data(), bytes.size());
      const Result<void> result = co_await backend.read({0, bytes.size()}, into);
      EXPECT_TRUE(result);
      for (const std::byte byte : bytes) EXPECT_EQ(static_cast<char>(byte), expected);
    }
    static Task<void> change(Backend& backend, NodeRef node) {
      const Result<void> changed = co_await backend.change_medium(std::move(node), Eject::kAsk);
      EXPECT_TRUE(changed);
    }
    static Task<void> run(TwoDisks& disks) {
      Scope scope;
      co_await disks.world.world().requests.close();
      scope.spawn(read(*disks.backend, 'a'));
      scope.spawn(change(*disks.backend, disks.b));
      scope.spawn(read(*disks.backend, 'b'));  // waits: the change has begun
      for (int i = 0; i < 10; ++i) co_await yield();
      EXPECT_EQ(disks.backend->root(), disks.a.get());
      disks.world.world().requests.open();
      co_await scope.join();
      EXPECT_EQ(disks.backend->root(), disks.b.get());
    }
  };
  TwoDisks disks;
  ASSERT_TRUE(disks.insert(disks.a));
  disks.world.wait(Steps::run(disks));
}

TEST(ChangeMedium, WaitsForTheOldOneToCloseButRequestsDoNot) {
  struct Steps {
    static Task<void> both(Backend& backend, NodeRef node) {
      const Result<void> changed = co_await backend.change_medium(std::move(node), Eject::kAsk);
      EXPECT_TRUE(changed);
      const Result<void> ejected = co_await backend.eject_medium(Eject::kAsk);
      EXPECT_TRUE(ejected);
    }
    static Task<void> run(TwoDisks& disks) {
      auto& world = disks.world.world();
      co_await world.closing.close();
      Scope scope;
      scope.spawn(both(*disks.backend, std::exchange(disks.b, NodeRef())));
      std::array<std::byte, 1> byte;
      const MutableBuffers into(byte.data(), byte.size());
      for (int i = 0; i < 10; ++i) co_await yield();
      const Result<void> read = co_await disks.backend->read({0, 1}, into);
      EXPECT_TRUE(read);  // of the new one
      EXPECT_EQ(byte[0], std::byte{'b'});
      EXPECT_EQ(scope.running(), 1U);
      world.closing.open();
      co_await scope.join();
      EXPECT_EQ(world.closed, (std::vector<std::string>{"a", "b"}));
    }
  };
  TwoDisks disks;
  ASSERT_TRUE(disks.insert(disks.a));
  disks.a = NodeRef();
  disks.world.wait(Steps::run(disks));
}

/// Counts the drains that are on.
struct Drained final : DeviceCallbacks {
  std::string describe() const override { return "drive"; }
  void drained_begin() override { ++drains; }
  void drained_end() override { --drains; }
  int drains = 0;
};

TEST(Drain, IsToldToADeviceThatComesAndGoesMeanwhile) {
  TwoDisks disks;
  Drained drive;
  disks.world.wait(disks.backend->drain_begin());
  ASSERT_TRUE(disks.backend->attach_device(drive, Backend::Origin::kIndependent));
  EXPECT_EQ(drive.drains, 1);
  disks.backend->detach_device();
  EXPECT_EQ(drive.drains, 0);
  disks.backend->drain_end();
  EXPECT_EQ(drive.drains, 0);
}

TEST(Drain, LetsOnlySoManyRequestsWait) {
  struct Steps {
    static Task<void> flush(Backend& backend, uint64_t& done) {
      const Result<void> flushed = co_await backend.flush();
      EXPECT_TRUE(flushed);
      ++done;
    }
    static Task<void> run(Backend& backend) {
      constexpr uint64_t kMost = 65536;
      uint64_t done = 0;
      Scope scope;
      co_await backend.drain_begin();
      for (uint64_t i = 0; i < kMost; ++i) scope.spawn(flush(backend, done));
      const Result<void> refused = co_await backend.flush();
      EXPECT_EQ(refused.error().reason(), "queue-full");
      backend.drain_end();
      co_await scope.join();
      EXPECT_EQ(done, kMost);
    }
  };
  TwoDisks disks;
  ASSERT_TRUE(disks.insert(disks.a));
  disks.world.wait(Steps::run(*disks.backend));
}

TEST(Drain, IsCountedAndReleasesRequestsInOrder) {
  struct Steps {
    static Task<void> write(Backend& backend, std::string& order, char name) {
      const std::byte byte{static_cast<uint8_t>(name)};
      const ConstBuffers from(&byte, 1);
      const Result<void> written = co_await backend.write({0, 1}, from, {});
      EXPECT_TRUE(written);
      order += name;
    }
    static Task<void> run(TwoDisks& disks, const Drained& drive) {
      Backend& backend = *disks.backend;
      std::string order;
      Scope scope;
      co_await backend.drain_begin();
      co_await backend.drain_begin();
      for (const char name : {'1', '2', '3'}) scope.spawn(write(backend, order, name));
      backend.drain_end();
      for (int i = 0; i < 10; ++i) co_await yield();
      EXPECT_EQ(order, "");
      EXPECT_EQ(drive.drains, 1);
      backend.drain_end();
      EXPECT_EQ(drive.drains, 0);
      co_await scope.join();
      EXPECT_EQ(order, "123");
    }
  };
  TwoDisks disks;
  ASSERT_TRUE(disks.backend->set_permissions(kReadWrite, Permissions::all()));
  ASSERT_TRUE(disks.insert(disks.a));
  Drained drive;
  ASSERT_TRUE(disks.backend->attach_device(drive, Backend::Origin::kIndependent));
  disks.world.wait(Steps::run(disks, drive));
  disks.backend->detach_device();
}

}  // namespace
}  // namespace ashlar
