// Throttling, in virtual time: exact rates, bursts, turns, drains, and limits that change.
#include <gtest/gtest.h>

#include <algorithm>

#include "async/on_loop.h"
#include "backend/throttle_group.h"
#include "testing/graph_world.h"

namespace ashlar {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
/// What the simulated clock creeps on its own in a test.
constexpr uint64_t kCreep = kSecond / 10'000;

ThrottleLimits limits_of(std::string_view text) {
  OptionDict dict = *OptionDict::parse_key_value(text);
  ThrottleLimits limits;
  EXPECT_TRUE(limits.take(dict));
  EXPECT_TRUE(dict.empty());
  return limits;
}

/// A group in simulation.
class Throttled {
 public:
  explicit Throttled(std::string_view limits, uint64_t seed = 1, unsigned loops = 1)
      : runtime_(seed, loops) {
    EXPECT_TRUE(group_->set_limits(limits_of(limits)));
  }
  /// Starts `count` requests at once; each notes when it was let in.
  struct Load {
    ThrottleMember& member;
    ThrottleDirection direction;
    uint64_t bytes;
    unsigned count;
  };
  static Task<void> request(Throttled& self, Load load, std::vector<uint64_t>& times) {
    ThrottleMember::AdmitAwaiter allowed = load.member.admit(load.direction, load.bytes);
    co_await allowed;
    times.push_back(self.runtime_.now_ns());
  }
  static Task<void> start(Throttled& self, Load load, std::vector<uint64_t>& times, Scope& scope) {
    for (unsigned i = 0; i < load.count; ++i) scope.spawn(request(self, load, times));
    co_return;
  }
  static Task<void> run_load(Throttled& self, Load load, std::vector<uint64_t>& times) {
    Scope scope;
    co_await start(self, load, times, scope);
    co_await scope.join();
  }
  /// When the requests were let in, from now on.
  std::vector<uint64_t> run(Load load) {
    std::vector<uint64_t> times;
    const uint64_t begin = runtime_.now_ns();
    sync_wait(runtime_, run_load(*this, load, times));
    for (uint64_t& time : times) time -= begin;
    return times;
  }
  void wait(Task<void> task) { sync_wait(runtime_, std::move(task)); }

  SimulatedRuntime runtime_;
  std::shared_ptr<ThrottleGroup> group_ = ThrottleGroup::create("group");
  std::atomic<bool> lifted_{false};
  ThrottleMember member_{group_, [this] { return lifted_.load(); }};
};

void expect_near(uint64_t time, uint64_t expected) {
  EXPECT_GE(time + kCreep, expected);
  EXPECT_LE(time, expected + kCreep);
}

TEST(Throttle, LetsRequestsInAtTheAverageRate) {
  Throttled world("iops-total=100");
  const auto times = world.run({world.member_, ThrottleDirection::kRead, 4096, 1001});
  // Ten come at once, and one more: the bucket is at its brim then, not above it.
  EXPECT_LE(times[10], kCreep);
  for (size_t i = 11; i < times.size(); ++i) expect_near(times[i], (i - 10) * kSecond / 100);
}

TEST(Throttle, KeepsExactlyToRatesThatDoNotDivideASecond) {
  Throttled world("bps-write=333333");
  const auto times = world.run({world.member_, ThrottleDirection::kWrite, 7777, 3000});
  // 7777 * 2999 bytes came before the last one, a tenth of a second of them at once.
  const uint64_t expected = static_cast<uint64_t>(7777.0 * 2999 / 333333 * 1e9) - kSecond / 10;
  expect_near(times.back(), expected);
}

TEST(Throttle, PaysForALargeRequestAfterwards) {
  Throttled world("bps-total=1000000");
  EXPECT_LE(world.run({world.member_, ThrottleDirection::kWrite, 5'000'000, 1})[0], kCreep);
  expect_near(world.run({world.member_, ThrottleDirection::kRead, 1, 1})[0],
              5 * kSecond - kSecond / 10);
}

TEST(Throttle, AllowsOneBurstAndThenTheAverage) {
  Throttled world("iops-read=10,iops-read-max=50");
  const auto times = world.run({world.member_, ThrottleDirection::kRead, 512, 100});
  EXPECT_LE(times[50], kCreep);
  for (size_t i = 51; i < times.size(); ++i) expect_near(times[i], (i - 50) * kSecond / 10);
}

TEST(Throttle, KeepsToTheBurstRateInALongBurst) {
  Throttled world("iops-read=10,iops-read-max=50,iops-read-max-length=4");
  const auto times = world.run({world.member_, ThrottleDirection::kRead, 512, 400});
  // A tenth of a second of the burst rate at once, then the burst rate.
  EXPECT_LE(times[5], kCreep);
  expect_near(times[100], 95 * kSecond / 50);
  // 200 units above what leaks: full after 200 / (50 - 10) seconds and a little; then the average.
  expect_near(times[399] - times[398], kSecond / 10);
  expect_near(times[399], (399 - 200) * kSecond / 10);
}

TEST(Throttle, CountsLargeRequestsAsSeveral) {
  Throttled world("iops-total=10,iops-size=4096");
  const auto times = world.run({world.member_, ThrottleDirection::kRead, 10240, 6});  // 2.5 each
  expect_near(times[5], (12'500 - 1000) * kSecond / 10'000);
  Throttled small("iops-total=10,iops-size=4096");
  EXPECT_LE(small.run({small.member_, ThrottleDirection::kRead, 512, 2})[1], kCreep);
}

TEST(Throttle, LimitsReadsAndWritesApart) {
  Throttled world("iops-read=10,bps-write=1000");
  std::vector<uint64_t> reads;
  std::vector<uint64_t> writes;
  const uint64_t begin = world.runtime_.now_ns();
  Scope scope;
  world.wait(
      Throttled::start(world, {world.member_, ThrottleDirection::kRead, 1, 21}, reads, scope));
  world.wait(
      Throttled::start(world, {world.member_, ThrottleDirection::kWrite, 100, 21}, writes, scope));
  world.wait(scope.join());
  expect_near(reads.back() - begin, 19 * kSecond / 10);
  expect_near(writes.back() - begin, 19 * kSecond / 10);
}

TEST(Throttle, LetsMembersTakeTurns) {
  Throttled world("iops-total=100");
  ThrottleMember second(world.group_, [] { return false; });
  std::vector<uint64_t> greedy;
  std::vector<uint64_t> modest;
  const uint64_t begin = world.runtime_.now_ns();
  Scope scope;
  const Throttled::Load many{world.member_, ThrottleDirection::kRead, 1, 500};
  const Throttled::Load few{second, ThrottleDirection::kRead, 1, 50};
  world.wait(Throttled::start(world, many, greedy, scope));
  world.wait(Throttled::start(world, few, modest, scope));
  world.wait(scope.join());
  // Every other one is the modest member's, though the other was there first with ten times more.
  expect_near(modest.back() - begin, kSecond);
  expect_near(greedy.back() - begin, 539 * kSecond / 100);
}

TEST(Throttle, LetsNeitherReadsNorWritesStarve) {
  Throttled world("bps-total=10000");
  std::vector<uint64_t> reads;
  std::vector<uint64_t> writes;
  const uint64_t begin = world.runtime_.now_ns();
  Scope scope;
  const Throttled::Load reading{world.member_, ThrottleDirection::kRead, 1000, 40};
  const Throttled::Load writing{world.member_, ThrottleDirection::kWrite, 1000, 10};
  world.wait(Throttled::start(world, reading, reads, scope));
  world.wait(Throttled::start(world, writing, writes, scope));
  world.wait(scope.join());
  EXPECT_LE(writes.back() - begin, 2 * kSecond + kCreep);
}

TEST(Throttle, IsAsFastOnSeveralLoops) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Throttled world("iops-total=1000", seed, 3);
    std::vector<uint64_t> times;
    const uint64_t begin = world.runtime_.now_ns();
    auto everywhere = [](Throttled& self, std::vector<uint64_t>& all) -> Task<void> {
      Scope scope;
      for (unsigned i = 0; i < 3; ++i) {
        const Throttled::Load load{self.member_, ThrottleDirection::kRead, 1, 100};
        Task<void> there = Throttled::run_load(self, load, all);
        auto on = [](Loop& loop, Task<void> task) -> Task<void> {
          OnLoop<void> running(loop, std::move(task));
          co_await running;
        };
        scope.spawn(on(self.runtime_.loop(i), std::move(there)));
      }
      co_await scope.join();
    };
    world.wait(everywhere(world, times));
    expect_near(times.back() - begin, (299 - 100) * kSecond / 1000);
  }
}

TEST(Throttle, MeasuresWhoWaitsByNewLimits) {
  Throttled world("iops-total=1");
  std::vector<uint64_t> times;
  const uint64_t begin = world.runtime_.now_ns();
  Scope scope;
  world.wait(
      Throttled::start(world, {world.member_, ThrottleDirection::kRead, 1, 100}, times, scope));
  world.wait(sleep_for(kSecond / 2));
  EXPECT_EQ(times.size(), 1u);
  auto change = [](ThrottleGroup& group, ThrottleLimits to) -> Task<void> {
    EXPECT_TRUE(group.set_limits(to));
    co_return;
  };
  world.wait(change(*world.group_, limits_of("iops-total=10")));
  world.wait(scope.join());
  expect_near(times.back() - begin, kSecond / 2 + 97 * kSecond / 10);
  world.wait(
      Throttled::start(world, {world.member_, ThrottleDirection::kRead, 1, 100}, times, scope));
  world.wait(change(*world.group_, ThrottleLimits()));
  world.wait(scope.join());
  EXPECT_EQ(times.size(), 200u);
  EXPECT_LE(times.back() - times[101], kCreep);
}

TEST(Throttle, LetsAMemberPastTheLimitsWhileTheyAreLifted) {
  Throttled world("iops-total=1");
  std::vector<uint64_t> times;
  Scope scope;
  const Throttled::Load load{world.member_, ThrottleDirection::kWrite, 1, 10};
  world.wait(Throttled::start(world, load, times, scope));
  world.lifted_ = true;
  auto release = [](ThrottleMember& member) -> Task<void> {
    member.release();
    co_return;
  };
  world.wait(release(world.member_));
  world.wait(scope.join());
  EXPECT_EQ(world.run(load).size(), 10u);
  EXPECT_LE(times.back(), kSecond + kCreep);  // the simulated clock starts at one second
  world.lifted_ = false;
  // They count all the same: twenty came, a tenth is free.
  expect_near(world.run({world.member_, ThrottleDirection::kRead, 1, 1})[0],
              20 * kSecond - kSecond / 10);
}

constexpr std::string_view kDisk =
    R"({"driver":"raw","file":{"driver":"memory","filename":"disk"}})";

Task<void> write_byte(Backend& backend, uint64_t offset, Result<void>& done) {
  const std::byte byte{'y'};
  done = co_await backend.write({offset, 1}, ConstBuffers(&byte, 1), {});
}

TEST(Throttle, OfABackendEndsWithADrainAndGoesOnAfterIt) {
  WorldGraph world;
  world.world().files["disk"] = make_file(1024, 'x');
  world.world().files["other"] = make_file(1024, 'o');
  BackendRef disk = *world.graph().create_backend("disk");
  ASSERT_TRUE(
      disk->set_permissions(Permission::kConsistentRead | Permission::kWrite, Permissions::all()));
  ASSERT_TRUE(world.wait(disk->insert_medium(*world.open(kDisk))));
  const auto group = ThrottleGroup::create("slow");
  ASSERT_TRUE(group->set_limits(limits_of("iops-write=1")));
  world.wait(disk->set_throttle(group));
  EXPECT_EQ(disk->throttle(), group);
  EXPECT_EQ(group->members(), 1u);

  std::array<Result<void>, 5> done;
  Scope scope;
  auto start = [](Backend& backend, Scope& in, std::array<Result<void>, 5>& all) -> Task<void> {
    for (size_t i = 0; i < all.size(); ++i) in.spawn(write_byte(backend, i, all[i]));
    co_return;
  };
  world.wait(start(*disk, scope, done));
  // They were written to the old medium: a change waits for them, and they for no limit.
  const uint64_t before = world.runtime().now_ns();
  const Result<NodeRef> other =
      world.open(R"({"driver":"raw","file":{"driver":"memory","filename":"other"}})");
  ASSERT_TRUE(world.wait(disk->change_medium(*other, Backend::Eject::kForce)));
  world.wait(scope.join());
  EXPECT_LE(world.runtime().now_ns() - before, kCreep);
  for (const Result<void>& one : done) EXPECT_TRUE(one);
  EXPECT_EQ(world.world().files["disk"]->bytes[4], std::byte{'y'});
  EXPECT_EQ(world.world().files["other"]->bytes[4], std::byte{'o'});
  // The limit holds again, and they count.
  ASSERT_TRUE(world.write(*disk, 0, "z"));
  expect_near(world.runtime().now_ns() - before, 5 * kSecond - kSecond / 10);
  ASSERT_TRUE(world.read(*disk, {0, 1}));
  expect_near(world.runtime().now_ns() - before, 5 * kSecond - kSecond / 10);
  world.wait(disk->set_throttle(nullptr));
  EXPECT_EQ(group->members(), 0u);
  ASSERT_TRUE(world.write(*disk, 0, "z"));
}

TEST(Throttle, OfABackendThatGoesAwayHoldsNobodyUp) {
  WorldGraph world;
  world.world().files["disk"] = make_file(1024, 'x');
  BackendRef disk = *world.graph().create_backend("disk");
  ASSERT_TRUE(
      disk->set_permissions(Permission::kConsistentRead | Permission::kWrite, Permissions::all()));
  ASSERT_TRUE(world.wait(disk->insert_medium(*world.open(kDisk))));
  const auto group = ThrottleGroup::create("slow");
  ASSERT_TRUE(group->set_limits(limits_of("iops-total=1")));
  world.wait(disk->set_throttle(group));
  std::array<Result<void>, 2> done;
  Scope scope;
  auto start = [](Backend& backend, Scope& in, std::array<Result<void>, 2>& all) -> Task<void> {
    for (size_t i = 0; i < all.size(); ++i) in.spawn(write_byte(backend, i, all[i]));
    co_return;
  };
  world.wait(start(*disk, scope, done));
  ASSERT_TRUE(world.wait(disk->remove()));
  world.wait(scope.join());
  EXPECT_TRUE(done[0]);
  EXPECT_EQ(done[1].error().code(), ErrorCode::kNoMedium);
  disk = BackendRef();
  EXPECT_TRUE(world.wait(world.graph().close()));
  EXPECT_EQ(group->members(), 0u);
}

}  // namespace
}  // namespace ashlar
