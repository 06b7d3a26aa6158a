// The simulated driver's claims, below a graph: random histories, faults and power cuts.
#include "testing/simulated_driver.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "ashlar/graph.h"
#include "async/on_loop.h"
#include "async/sync.h"
#include "testing/flat_model.h"
#include "testing/simulated_runtime.h"

namespace ashlar {
namespace {

constexpr uint64_t kSize = 64_KiB;
constexpr uint64_t kUnit = FlatModel::kUnit;

/// A simulation with one disk, opened below a backend.
struct World {
  explicit World(uint64_t seed, unsigned loops = 3)
      : runtime(seed, loops), random(seed), disk(std::make_shared<SimulatedDisk>(kSize)) {
    runtime.attach_disk("d", disk);
  }
  SimulatedRuntime runtime;
  SeededRandom random;
  std::shared_ptr<SimulatedDisk> disk;
  FlatModel model{kSize};
};

using Body = Task<void> (*)(World&, Backend&);

Task<void> run_on_backend(World& world, Body body) {
  static constexpr std::array<const DriverSpec*, 1> kDrivers = {&simulated_disk_driver};
  Graph graph(world.runtime, {.drivers = kDrivers, .resolver = nullptr});
  OptionDict options;
  options.set("driver", "simulated-disk");
  options.set("disk", "d");
  Result<NodeRef> node = co_await graph.open(std::move(options));
  EXPECT_TRUE(node) << node.error().message();
  Result<BackendRef> backend = graph.create_backend();
  const Permissions all = Permissions::all();
  EXPECT_TRUE((*backend)->set_permissions(all, all));
  Result<void> inserted = co_await (*backend)->insert_medium(std::move(*node));
  EXPECT_TRUE(inserted) << inserted.error().message();
  co_await body(world, **backend);
  *backend = BackendRef();
  (void)co_await graph.close();
}

/// Runs `body` for many seeds, and names the one that fails.
void for_seeds(uint64_t count, Body body) {
  for (uint64_t seed = 0; seed < count && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    sync_wait(world.runtime, run_on_backend(world, body));
  }
}

FlatModel::Outcome outcome_of(const Result<void>& result) {
  return result ? FlatModel::Outcome::kSucceeded : FlatModel::Outcome::kFailed;
}

Task<void> write_one(World& world, Backend& backend, ByteRange range) {
  std::vector<std::byte> data(range.length);
  world.random.fill(data);
  const FlatModel::ChangeId change = world.model.begin_write(range, data);
  const ConstBuffers from(data.data(), data.size());
  const Result<void> result = co_await backend.write(range, from, {});
  world.model.finish(change, outcome_of(result));
}

Task<void> zero_one(World& world, Backend& backend, ByteRange range) {
  const FlatModel::ChangeId change = world.model.begin_zero(range);
  const Result<void> result = co_await backend.write_zeroes(range, {});
  world.model.finish(change, outcome_of(result));
}

Task<void> flush_one(World& world, Backend& backend) {
  const FlatModel::ChangeId change = world.model.begin_flush();
  const Result<void> result = co_await backend.flush();
  world.model.finish(change, outcome_of(result));
}

Task<void> run_there(Loop& loop, Task<void> task) {
  OnLoop<void> there(loop, std::move(task));
  co_await there;
}

/// Eight requests in flight on three loops, each in a stripe of its own.
Task<void> one_burst(World& world, Backend& backend) {
  Scope scope;
  constexpr uint64_t kStripe = kSize / 8;
  for (uint64_t stripe = 0; stripe < 8; ++stripe) {
    const uint64_t units = world.random.between(1, kStripe / kUnit);
    const ByteRange range = {stripe * kStripe, units * kUnit};
    const uint64_t what = world.random.below(4);
    Task<void> request = what == 0   ? flush_one(world, backend)
                         : what == 1 ? zero_one(world, backend, range)
                                     : write_one(world, backend, range);
    Loop& loop = world.runtime.loop(static_cast<unsigned>(world.random.below(3)));
    scope.spawn(run_there(loop, std::move(request)));
  }
  co_await scope.join();
}

Task<void> expect_content(World& world, Backend& backend) {
  std::vector<std::byte> all(kSize);
  const MutableBuffers into(all.data(), all.size());
  const Result<void> result = co_await backend.read({0, kSize}, into);
  EXPECT_TRUE(result) << result.error().message();
  EXPECT_EQ(world.model.mismatch(0, all), std::nullopt);
}

Task<void> random_bursts(World& world, Backend& backend) {
  for (int burst = 0; burst < 5; ++burst) {
    co_await one_burst(world, backend);
    co_await expect_content(world, backend);
  }
}

TEST(SimulatedDriver, HoldsWhatTheModelHoldsWhateverTheOrder) { for_seeds(100, random_bursts); }

Task<void> bursts_with_faults(World& world, Backend& backend) {
  for (const DiskRequest kind : {DiskRequest::kWrite, DiskRequest::kZero, DiskRequest::kFlush}) {
    world.disk->fail({.kind = kind, .after = world.random.below(6)});
  }
  co_await random_bursts(world, backend);
}

TEST(SimulatedDriver, AFailedRequestLeavesTheOldOrTheNew) { for_seeds(100, bursts_with_faults); }

void expect_survivors(const World& world) {
  for (uint64_t value = 0; value < 20; ++value) {
    const PowerCut cut = {world.disk->events(), PowerCut::Rule::kSeeded, value};
    std::vector<std::byte> left(kSize);
    world.disk->after(cut).read(0, left);
    EXPECT_EQ(world.model.mismatch_after_power_cut(0, left), std::nullopt) << cut.describe();
  }
}

Task<void> cut_in_the_middle(World& world, Backend& backend) {
  co_await one_burst(world, backend);
  co_await flush_one(world, backend);
  Scope scope;
  scope.spawn(one_burst(world, backend));
  // Somewhere between the first and the last of them.
  co_await sleep_for(world.random.below(60'000));
  expect_survivors(world);
  co_await scope.join();
  expect_survivors(world);
}

TEST(SimulatedDriver, APowerCutLeavesWhatTheModelAllows) { for_seeds(100, cut_in_the_middle); }

TEST(SimulatedDriver, ReplaysToTheNanosecond) {
  auto end_of = [](uint64_t seed) {
    World world(seed);
    sync_wait(world.runtime, run_on_backend(world, random_bursts));
    return world.runtime.now_ns();
  };
  EXPECT_EQ(end_of(5), end_of(5));
  EXPECT_NE(end_of(5), end_of(6));
}

Task<void> open_missing(World& world, std::string& message) {
  static constexpr std::array<const DriverSpec*, 1> kDrivers = {&simulated_disk_driver};
  Graph graph(world.runtime, {.drivers = kDrivers, .resolver = nullptr});
  OptionDict options;
  options.set("driver", "simulated-disk");
  options.set("disk", "other");
  const Result<NodeRef> node = co_await graph.open(std::move(options));
  if (!node) message = node.error().message();
  (void)co_await graph.close();
}

TEST(SimulatedDriver, NamesTheDiskThatIsNotThere) {
  World world(1);
  std::string message;
  sync_wait(world.runtime, open_missing(world, message));
  EXPECT_NE(message.find("no disk is attached as \"other\""), std::string::npos) << message;
}

}  // namespace
}  // namespace ashlar
