// Failed requests: reported, ignored, held and tried again, and who is told.
#include <gtest/gtest.h>

#include <array>

#include "graph/graph_node.h"
#include "testing/graph_world.h"

namespace ashlar {
namespace {

constexpr Permissions kReadWrite = Permission::kConsistentRead | Permission::kWrite;

struct Observer final : BackendObserver {
  void io_error(const IoErrorEvent& event) override {
    events += event.operation == IoErrorEvent::Operation::kRead ? 'r' : 'w';
    events += event.action == ErrorPolicy::kReport   ? 'R'
              : event.action == ErrorPolicy::kIgnore ? 'I'
                                                     : 'S';
    node = event.node;
    backend = event.backend;
  }
  void image_corrupted(const CorruptionEvent& event) override {
    events += '!';
    node = event.node;
    backend = event.backend;
  }
  std::string events;
  std::string node;
  Backend* backend = nullptr;
};

struct Disk {
  Disk() {
    world.world().files["f"] = make_file(1024, 'x');
    const Result<NodeRef> node = world.open(R"({"driver":"raw","node-name":"raw","file":
        {"driver":"memory","filename":"f"}})");
    backend = *world.graph().create_backend("disk");
    backend->set_observer(&observer);
    EXPECT_TRUE(backend->set_permissions(kReadWrite, Permissions::all()));
    EXPECT_TRUE(world.wait(backend->insert_medium(*node)));
  }
  GraphWorld& faults() { return world.world(); }
  WorldGraph world;
  Observer observer;
  BackendRef backend;
};

TEST(ErrorPolicy, ReportsByDefaultAndNamesBackendAndNode) {
  Disk disk;
  disk.faults().reads.arm(1);
  EXPECT_EQ(disk.world.read(*disk.backend, {0, 1}).error().code(), ErrorCode::kIo);
  EXPECT_EQ(disk.observer.events, "rR");
  EXPECT_EQ(disk.observer.node, "raw");
  EXPECT_EQ(disk.observer.backend, disk.backend.get());
  EXPECT_FALSE(disk.backend->stopped());
}

TEST(ErrorPolicy, IgnoresPerDirection) {
  Disk disk;
  disk.backend->set_error_policy(ErrorPolicy::kReport, ErrorPolicy::kIgnore);
  disk.faults().writes.arm(1);
  EXPECT_TRUE(disk.world.write(*disk.backend, 0, "y"));
  disk.faults().reads.arm(1);
  EXPECT_FALSE(disk.world.read(*disk.backend, {0, 1}));
  EXPECT_EQ(disk.observer.events, "wIrR");
}

TEST(ErrorPolicy, DoesNotConcernRequestsThatCannotBe) {
  Disk disk;
  disk.backend->set_error_policy(ErrorPolicy::kIgnore, ErrorPolicy::kIgnore);
  EXPECT_EQ(disk.world.read(*disk.backend, {2000, 1}).error().code(), ErrorCode::kOutOfRange);
  ASSERT_TRUE(disk.world.wait(disk.backend->eject_medium(Backend::Eject::kForce)));
  EXPECT_EQ(disk.world.write(*disk.backend, 0, "y").error().code(), ErrorCode::kNoMedium);
  EXPECT_EQ(disk.observer.events, "");
}

Task<void> write_y(Backend& backend, Result<void>& result, bool& done) {
  const std::byte byte{'y'};
  const ConstBuffers from(&byte, 1);
  result = co_await backend.write({0, 1}, from, {});
  done = true;
}

Task<void> let_run() {
  for (int i = 0; i < 50; ++i) co_await yield();
}

/// A write that fails and is held, and `then` while it is.
Task<void> held_write(Disk& disk, Task<void> (*then)(Disk& disk), Result<void>& result) {
  bool done = false;
  Scope scope;
  disk.faults().writes.arm(1);
  scope.spawn(write_y(*disk.backend, result, done));
  co_await let_run();
  EXPECT_FALSE(done);
  EXPECT_TRUE(disk.backend->stopped());
  co_await then(disk);
  co_await scope.join();
}

TEST(ErrorPolicy, HoldsAWriteUntilItIsTold) {
  Disk disk;
  disk.backend->set_error_policy(ErrorPolicy::kReport, ErrorPolicy::kStop);
  Result<void> result;
  struct Then {
    static Task<void> run(Disk& disk) {
      EXPECT_EQ(disk.observer.events, "wS");
      // Held is not in flight: drains and other requests go on.
      co_await disk.backend->drain_begin();
      disk.backend->drain_end();
      disk.backend->resume();
      EXPECT_FALSE(disk.backend->stopped());
    }
  };
  disk.world.wait(held_write(disk, Then::run, result));
  EXPECT_TRUE(result);
  EXPECT_EQ(disk.world.read(*disk.backend, {0, 2}).value(), "yx");
  EXPECT_EQ(disk.observer.events, "wS");
}

TEST(ErrorPolicy, MayBeEndedByWhoIsTold) {
  struct Resuming final : BackendObserver {
    void io_error(const IoErrorEvent& event) override { event.backend->resume(); }
  };
  Disk disk;
  Resuming observer;
  disk.backend->set_observer(&observer);
  disk.backend->set_error_policy(ErrorPolicy::kReport, ErrorPolicy::kStop);
  disk.faults().writes.arm(1);
  EXPECT_TRUE(disk.world.write(*disk.backend, 0, "y"));
  EXPECT_EQ(disk.faults().writes.seen(), 2u);
}

TEST(ErrorPolicy, TriesAgainOnTheMediumThatIsThereThen) {
  Disk disk;
  disk.backend->set_error_policy(ErrorPolicy::kReport, ErrorPolicy::kStop);
  Result<void> result;
  struct Then {
    static Task<void> run(Disk& disk) {
      disk.faults().files["g"] = make_file(1024, 'z');
      OptionDict options = *OptionDict::parse_json(R"({"driver":"memory","filename":"g"})");
      Result<NodeRef> node = co_await disk.world.graph().open(std::move(options));
      const Result<void> changed =
          co_await disk.backend->change_medium(*node, Backend::Eject::kForce);
      EXPECT_TRUE(changed);
      disk.backend->resume();
    }
  };
  disk.world.wait(held_write(disk, Then::run, result));
  EXPECT_TRUE(result);
  EXPECT_EQ(disk.world.read(*disk.backend, {0, 2}).value(), "yz");
  EXPECT_EQ(disk.faults().files["f"]->bytes[0], std::byte{'x'});
}

TEST(ErrorPolicy, StopsForWantOfSpaceOnly) {
  Disk disk;
  disk.backend->set_error_policy(ErrorPolicy::kReport, ErrorPolicy::kStopOnNoSpace);
  disk.faults().writes.arm(1);
  EXPECT_EQ(disk.world.write(*disk.backend, 0, "y").error().code(), ErrorCode::kIo);
  EXPECT_EQ(disk.observer.events, "wR");
  disk.faults().write_error = ErrorCode::kNoSpace;
  Result<void> result;
  struct Then {
    static Task<void> run(Disk& disk) {
      disk.backend->resume();
      co_return;
    }
  };
  disk.world.wait(held_write(disk, Then::run, result));
  EXPECT_TRUE(result);
  EXPECT_EQ(disk.observer.events, "wRwS");
}

TEST(ErrorPolicy, HeldRequestsEndWithTheirMediumWhenTheBackendIsRemoved) {
  Disk disk;
  disk.backend->set_error_policy(ErrorPolicy::kStop, ErrorPolicy::kStop);
  Result<void> result;
  struct Then {
    static Task<void> run(Disk& disk) {
      const Result<void> removed = co_await disk.backend->remove();
      EXPECT_TRUE(removed);
    }
  };
  disk.world.wait(held_write(disk, Then::run, result));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kNoMedium);
}

TEST(ErrorPolicy, HeldRequestsDoNotOutliveTheLastReference) {
  Disk disk;
  disk.backend->set_error_policy(ErrorPolicy::kStop, ErrorPolicy::kStop);
  Result<void> result;
  struct Then {
    static Task<void> run(Disk& disk) {
      disk.backend = BackendRef();
      co_await disk.world.graph().settle();
      EXPECT_EQ(disk.faults().open_drivers, 0u);
    }
  };
  disk.world.wait(held_write(disk, Then::run, result));
  EXPECT_FALSE(result);
}

TEST(ErrorPolicy, IsSettledWhenTheGraphCloses) {
  Disk disk;
  disk.backend->set_error_policy(ErrorPolicy::kStop, ErrorPolicy::kStop);
  Result<void> result;
  struct Then {
    static Task<void> run(Disk& disk) {
      disk.faults().writes.arm(1);  // the flush fails too, and stops nothing
      const Result<void> closed = co_await disk.world.graph().close();
      EXPECT_TRUE(closed);  // nothing had been written
      EXPECT_FALSE(disk.backend->stopped());
    }
  };
  disk.world.wait(held_write(disk, Then::run, result));
  EXPECT_FALSE(result);
}

TEST(Corruption, IsToldToEveryBackendAbove) {
  Disk disk;
  auto& node = static_cast<GraphNode&>(*disk.backend->root()->primary());
  node.image_corrupted(Error(ErrorCode::kCorrupt, "not what it was"));
  EXPECT_EQ(disk.observer.events, "");  // never from inside the driver
  disk.world.wait(disk.world.graph().settle());
  EXPECT_EQ(disk.observer.events, "!");
  EXPECT_EQ(disk.observer.node, node.name());
  EXPECT_EQ(disk.observer.backend, disk.backend.get());
}

}  // namespace
}  // namespace ashlar
