// The life of a backend: names, references, devices, removal, and the end of the graph.
#include <gtest/gtest.h>

#include <array>

#include "testing/graph_world.h"

namespace ashlar {
namespace {

constexpr Permissions kReadWrite = Permission::kConsistentRead | Permission::kWrite;

struct Device final : DeviceCallbacks {
  std::string describe() const override { return "device \"d\""; }
  void medium_changed(Medium change) override {
    events += change == Medium::kInserted ? 'I' : change == Medium::kRemoved ? 'R' : 'C';
  }
  void drained_begin() override { events += '('; }
  void drained_end() override { events += ')'; }
  std::string events;
};

NodeRef open_file(WorldGraph& world, const char* name = "f") {
  world.world().files[name] = make_file(1024, static_cast<uint8_t>(name[0]));
  return *world.open(R"({"driver":"memory","filename":")" + std::string(name) + "\"}");
}

TEST(BackendLife, IsAnonymousOrFoundByItsName) {
  WorldGraph world;
  const Result<BackendRef> anonymous = world.graph().create_backend();
  EXPECT_EQ((*anonymous)->name(), "");
  const Result<BackendRef> b = world.graph().create_backend("b");
  const Result<BackendRef> a = world.graph().create_backend("a");
  EXPECT_EQ(world.graph().find_backend("a").get(), a->get());
  EXPECT_EQ(world.graph().find_backend("c").get(), nullptr);
  EXPECT_EQ(world.graph().find_backend("").get(), nullptr);
  const std::vector<BackendRef> named = world.graph().backends();
  ASSERT_EQ(named.size(), 2u);
  EXPECT_EQ(named[0].get(), b->get());  // in order of creation
  EXPECT_EQ(named[1].get(), a->get());
}

TEST(BackendLife, EndsWithTheLastReference) {
  WorldGraph world;
  NodeRef node = open_file(world);
  BackendRef backend = *world.graph().create_backend("b");
  ASSERT_TRUE(world.wait(backend->insert_medium(node)));
  node = NodeRef();
  BackendRef second = backend;
  backend = BackendRef();
  EXPECT_TRUE(world.graph().find_backend("b"));
  second = BackendRef();
  EXPECT_FALSE(world.graph().find_backend("b"));
  EXPECT_TRUE(world.graph().create_backend("b"));  // its name is free at once
  world.wait(world.graph().settle());
  EXPECT_EQ(world.world().open_drivers, 0u);
}

TEST(BackendLife, LeavesAMediumToItsOtherUsers) {
  WorldGraph world;
  const NodeRef node = open_file(world);
  BackendRef one = *world.graph().create_backend();
  const BackendRef two = *world.graph().create_backend();
  ASSERT_TRUE(world.wait(one->insert_medium(node)));
  ASSERT_TRUE(world.wait(two->insert_medium(node)));
  one = BackendRef();
  world.wait(world.graph().settle());
  EXPECT_EQ(world.read(*two, {0, 2}).value(), "ff");
}

TEST(BackendLife, LosesItsNameAndKeepsItsMedium) {
  WorldGraph world;
  const BackendRef backend = *world.graph().create_backend("b");
  ASSERT_TRUE(world.wait(backend->insert_medium(open_file(world))));
  backend->remove_name();
  EXPECT_EQ(backend->name(), "");
  EXPECT_FALSE(world.graph().find_backend("b"));
  EXPECT_TRUE(world.graph().backends().empty());
  EXPECT_EQ(world.read(*backend, {0, 1}).value(), "f");
}

TEST(BackendDevice, IsOneAtMostAndHoldsAReference) {
  WorldGraph world;
  BackendRef backend = *world.graph().create_backend("b");
  ASSERT_TRUE(world.wait(backend->insert_medium(open_file(world))));
  Device device, other;
  ASSERT_TRUE(backend->attach_device(device, Backend::Origin::kIndependent));
  const Result<void> refused = backend->attach_device(other, Backend::Origin::kIndependent);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
  EXPECT_EQ(refused.error().message(), "backend \"b\" is in use by device \"d\"");
  Backend& held = *backend;
  backend = BackendRef();
  world.wait(world.graph().settle());
  EXPECT_EQ(world.read(held, {0, 1}).value(), "f");
  EXPECT_EQ(held.device(), &device);
  held.detach_device();
  world.wait(world.graph().settle());
  EXPECT_EQ(world.world().open_drivers, 0u);
}

TEST(BackendDevice, LeavesTheMediumAndItsPermissionsBehind) {
  WorldGraph world;
  const NodeRef node = open_file(world);
  const BackendRef backend = *world.graph().create_backend("b");
  ASSERT_TRUE(world.wait(backend->insert_medium(node)));
  Device device;
  ASSERT_TRUE(backend->attach_device(device, Backend::Origin::kIndependent));
  ASSERT_TRUE(backend->set_permissions(kReadWrite, Permission::kConsistentRead));
  backend->detach_device();
  EXPECT_TRUE(backend->has_medium());
  EXPECT_EQ(node->used(), Permission::kConsistentRead);
  EXPECT_EQ(backend->device(), nullptr);
  EXPECT_EQ(device.events, "");
}

TEST(BackendDevice, TakesABackendMadeForItAlong) {
  WorldGraph world;
  const BackendRef backend = *world.graph().create_backend("b");
  ASSERT_TRUE(world.wait(backend->insert_medium(open_file(world))));
  Device device;
  ASSERT_TRUE(backend->attach_device(device, Backend::Origin::kMadeForDevice));
  backend->detach_device();
  EXPECT_FALSE(world.graph().find_backend("b"));
  EXPECT_EQ(world.read(*backend, {0, 1}).error().code(), ErrorCode::kNoMedium);
  world.wait(world.graph().settle());
  EXPECT_EQ(world.world().open_drivers, 0u);
  EXPECT_EQ(device.events, "");  // it is gone: nothing to tell it
}

TEST(BackendRemove, TakesNameAndMediumAtOnceAndLeavesTheDevice) {
  WorldGraph world;
  BackendRef backend = *world.graph().create_backend("b");
  ASSERT_TRUE(world.wait(backend->insert_medium(open_file(world))));
  Device device;
  ASSERT_TRUE(backend->attach_device(device, Backend::Origin::kIndependent));
  ASSERT_TRUE(world.wait(backend->remove()));
  EXPECT_FALSE(world.graph().find_backend("b"));
  EXPECT_TRUE(world.graph().create_backend("b"));
  EXPECT_EQ(device.events, "()R");
  Backend& left = *backend;
  backend = BackendRef();
  world.wait(world.graph().settle());
  EXPECT_EQ(world.read(left, {0, 1}).error().code(), ErrorCode::kNoMedium);
  EXPECT_EQ(world.world().open_drivers, 0u);
  left.detach_device();
}

TEST(BackendRemove, LetsRequestsInFlightFinishAndRefusesNewOnes) {
  struct Steps {
    static Task<void> read(Backend& backend, ErrorCode expected, bool& done) {
      std::array<std::byte, 4> bytes;
      const MutableBuffers into(bytes.data(), bytes.size());
      const Result<void> result = co_await backend.read({0, 4}, into);
      EXPECT_EQ(result ? ErrorCode::kCancelled : result.error().code(), expected);
      done = true;
    }
    static Task<void> remove(Backend& backend, const bool& read_before) {
      const Result<void> removed = co_await backend.remove();
      EXPECT_TRUE(removed);
      EXPECT_TRUE(read_before);
    }
    static Task<void> run(GraphWorld& world, Backend& backend) {
      bool first = false;
      bool second = false;
      Scope scope;
      co_await world.requests.close();
      scope.spawn(read(backend, ErrorCode::kCancelled, first));  // stands for success
      scope.spawn(remove(backend, first));
      EXPECT_EQ(backend.name(), "");
      EXPECT_FALSE(backend.has_medium());
      world.requests.open();
      scope.spawn(read(backend, ErrorCode::kNoMedium, second));
      co_await scope.join();
    }
  };
  WorldGraph world;
  const BackendRef backend = *world.graph().create_backend("b");
  ASSERT_TRUE(world.wait(backend->insert_medium(open_file(world))));
  world.wait(Steps::run(world.world(), *backend));
}

TEST(GraphClose, FlushesAndEmptiesEveryBackend) {
  WorldGraph world;
  const BackendRef named = *world.graph().create_backend("b");
  const BackendRef anonymous = *world.graph().create_backend();
  for (const BackendRef& backend : {named, anonymous}) {
    ASSERT_TRUE(backend->set_permissions(kReadWrite, Permissions::all()));
    const NodeRef node = open_file(world, backend->name().empty() ? "a" : "b");
    ASSERT_TRUE(world.wait(backend->insert_medium(node)));
    ASSERT_TRUE(world.write(*backend, 0, "new"));
  }
  world.world().writes.arm(0);
  EXPECT_TRUE(world.wait(world.graph().close()));
  EXPECT_EQ(world.world().writes.seen(), 2u);  // a flush each
  EXPECT_EQ(world.world().open_drivers, 0u);
  EXPECT_EQ(world.read(*named, {0, 1}).error().code(), ErrorCode::kNoMedium);
  EXPECT_EQ(anonymous->has_medium(), false);
}

TEST(GraphClose, ReportsTheFlushThatFailedAndClosesAllTheSame) {
  WorldGraph world;
  const BackendRef backend = *world.graph().create_backend("b");
  ASSERT_TRUE(backend->set_permissions(kReadWrite, Permissions::all()));
  ASSERT_TRUE(world.wait(backend->insert_medium(open_file(world))));
  ASSERT_TRUE(world.write(*backend, 0, "new"));
  world.world().writes.arm(1);
  const Result<void> closed = world.wait(world.graph().close());
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code(), ErrorCode::kIo);
  EXPECT_NE(closed.error().message().find("backend \"b\""), std::string::npos);
  EXPECT_EQ(world.world().open_drivers, 0u);
}

TEST(BackendRef, MayOutliveTheMediumsCloseInTheMiddleOfARequest) {
  struct Steps {
    static Task<void> read(Backend& backend, bool& done) {
      std::array<std::byte, 4> bytes;
      const MutableBuffers into(bytes.data(), bytes.size());
      const Result<void> result = co_await backend.read({0, 4}, into);
      EXPECT_TRUE(result);
      done = true;
    }
    static Task<void> run(WorldGraph& world, BackendRef& last) {
      bool done = false;
      Scope scope;
      co_await world.world().requests.close();
      scope.spawn(read(*last, done));
      last = BackendRef();  // the object waits for its request
      for (int i = 0; i < 20; ++i) co_await yield();
      EXPECT_FALSE(done);
      EXPECT_EQ(world.world().open_drivers, 1u);
      world.world().requests.open();
      co_await scope.join();
      EXPECT_TRUE(done);
      co_await world.graph().settle();
      EXPECT_EQ(world.world().open_drivers, 0u);
    }
  };
  WorldGraph world;
  BackendRef backend = *world.graph().create_backend("b");
  ASSERT_TRUE(world.wait(backend->insert_medium(open_file(world))));
  world.wait(Steps::run(world, backend));
}

}  // namespace
}  // namespace ashlar
