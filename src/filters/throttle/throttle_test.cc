// The throttle filter: conforms, keeps to its group, lets drains through, changes its group.
#include "ashlar/throttle.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "ashlar/builtin.h"
#include "ashlar/graph.h"
#include "async/sync.h"
#include "testing/conformance.h"
#include "testing/simulated_runtime.h"

namespace ashlar {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kCreep = kSecond / 10'000;

class Groups final : public ThrottleGroupStore {
 public:
  std::shared_ptr<ThrottleGroup> throttle_group(std::string_view name) const override {
    const auto found = groups_.find(name);
    return found == groups_.end() ? nullptr : found->second;
  }
  std::shared_ptr<ThrottleGroup> add(const std::string& name, std::string_view limits) {
    OptionDict dict = *OptionDict::parse_key_value(limits);
    ThrottleLimits taken;
    EXPECT_TRUE(taken.take(dict));
    groups_[name] = ThrottleGroup::create(name);
    EXPECT_TRUE(groups_[name]->set_limits(taken));
    return groups_[name];
  }

 private:
  std::map<std::string, std::shared_ptr<ThrottleGroup>, std::less<>> groups_;
};

/// Two groups and a throttled disk in memory, in virtual time.
class World {
 public:
  World() {
    slow_ = groups_->add("slow", "iops-total=1");
    groups_->add("slower", "bps-write=1");
    Graph::Options options;
    options.drivers = builtin_drivers();
    options.throttle_groups = groups_;
    graph_ = std::make_unique<Graph>(runtime_, std::move(options));
  }
  ~World() {
    backend_ = BackendRef();
    EXPECT_TRUE(sync_wait(runtime_, graph_->close()));
    EXPECT_EQ(slow_->members(), 0u);
  }
  Result<NodeRef> open(std::string_view json) {
    return sync_wait(runtime_, graph_->open(*OptionDict::parse_json(json)));
  }
  void start() {
    const Result<NodeRef> node =
        open(R"({"driver":"throttle","throttle-group":"slow","node-name":"t","discard":"unmap",
                 "file":{"driver":"memory","size":4096}})");
    ASSERT_TRUE(node) << node.error().message();
    backend_ = *graph_->create_backend("disk");
    ASSERT_TRUE(backend_->set_permissions(
        Permission::kConsistentRead | Permission::kWrite | Permission::kResize,
        Permissions::all()));
    ASSERT_TRUE(sync_wait(runtime_, backend_->insert_medium(*node)));
  }
  template <typename T>
  T wait(Task<T> task) {
    return sync_wait(runtime_, std::move(task));
  }
  void wait(Task<void> task) { sync_wait(runtime_, std::move(task)); }
  /// Nanoseconds that `task` takes.
  uint64_t time(Task<Result<void>> task) {
    const uint64_t begin = runtime_.now_ns();
    EXPECT_TRUE(wait(std::move(task)));
    return runtime_.now_ns() - begin;
  }

  SimulatedRuntime runtime_{1};
  std::shared_ptr<Groups> groups_ = std::make_shared<Groups>();
  std::shared_ptr<ThrottleGroup> slow_;
  std::unique_ptr<Graph> graph_;
  BackendRef backend_;
};

void expect_near(uint64_t time, uint64_t expected) {
  EXPECT_GE(time + kCreep, expected);
  EXPECT_LE(time, expected + kCreep);
}

TEST(ThrottleFilter, HoldsBackAllButFlushes) {
  World world;
  world.start();
  Backend& disk = *world.backend_;
  std::array<std::byte, 16> bytes{};
  expect_near(world.time(disk.write_zeroes({0, 16}, {})), 0);
  expect_near(world.time(disk.write({0, 16}, ConstBuffers(bytes), {})), kSecond * 9 / 10);
  expect_near(world.time(disk.read({0, 16}, MutableBuffers(bytes))), kSecond);
  expect_near(world.time(disk.discard({0, 4096})), kSecond);
  expect_near(world.time(disk.flush()), 0);
  EXPECT_TRUE(world.wait(disk.status({0, 16})));
}

TEST(ThrottleFilter, LetsRequestsGoWhenItsUserIsDrained) {
  World world;
  world.start();
  std::vector<Result<void>> done(5);
  std::byte byte{1};
  auto write = [](Backend& disk, std::byte& from, Result<void>& result) -> Task<void> {
    result = co_await disk.write({0, 1}, ConstBuffers(&from, 1), {});
  };
  auto start = [](auto one, Scope& scope, World& in, std::byte& from,
                  std::vector<Result<void>>& results) -> Task<void> {
    for (Result<void>& result : results) scope.spawn(one(*in.backend_, from, result));
    co_return;
  };
  Scope scope;
  world.wait(start(write, scope, world, byte, done));
  expect_near(world.time(world.backend_->resize(8192, {})), 0);
  world.wait(scope.join());
  for (const Result<void>& one : done) EXPECT_TRUE(one);
  // Limits are back, and the five count.
  expect_near(world.time(world.backend_->read({0, 1}, MutableBuffers(&byte, 1))),
              kSecond * 49 / 10);
}

TEST(ThrottleFilter, ChangesItsGroupByReopening) {
  World world;
  world.start();
  auto reopen = [&world](std::string_view json) {
    std::vector<OptionDict> changes{*OptionDict::parse_json(json)};
    return world.wait(world.graph_->reopen(std::move(changes)));
  };
  EXPECT_EQ(reopen(R"({"node-name":"t","throttle-group":"none"})").error().reason(),
            "throttle-group-not-found");
  EXPECT_EQ(world.slow_->members(), 1u);
  ASSERT_TRUE(reopen(R"({"node-name":"t","throttle-group":"slower"})"));
  EXPECT_EQ(world.slow_->members(), 0u);
  std::array<std::byte, 10> bytes{};
  expect_near(world.time(world.backend_->write({0, 10}, ConstBuffers(bytes), {})), 0);
  expect_near(world.time(world.backend_->write({0, 1}, ConstBuffers(bytes.data(), 1), {})),
              kSecond * 99 / 10);
}

TEST(ThrottleFilter, NamesTheGroupThatIsNotThere) {
  World world;
  const std::string_view file = R"(,"file":{"driver":"memory","size":4096}})";
  const auto refusal = [&](std::string head) {
    const Result<NodeRef> node = world.open(head.append(file));
    return node ? "" : std::string(node.error().reason());
  };
  EXPECT_EQ(refusal(R"({"driver":"throttle")"), "throttle-group-missing");
  EXPECT_EQ(refusal(R"({"driver":"throttle","throttle-group":"x")"), "throttle-group-not-found");
  EXPECT_EQ(refusal(R"({"driver":"throttle","throttle-group":"slow")"), "");
}

OptionDict throttled(OptionDict below) {
  OptionDict options;
  options.set("driver", std::string("throttle"));
  options.set("throttle-group", std::string("fast"));
  options.add_subtree("file", below);
  return options;
}

TEST(ThrottleFilter, Conforms) {
  auto groups = std::make_shared<Groups>();
  groups->add("fast", "iops-total=1000000,bps-total=100000000000,iops-size=512");
  ConformanceSubject subject;
  subject.make = [](uint64_t size) {
    return throttled(*OptionDict::parse_key_value("driver=memory,size=" + std::to_string(size)));
  };
  subject.throttle_groups = groups;
  subject.keeps = ConformanceSubject::Keeps::kWhileOpen;
  EXPECT_EQ(run_conformance(subject), "");
}

}  // namespace
}  // namespace ashlar
