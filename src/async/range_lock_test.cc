// The range lock's claims: exclusion by overlap, order of arrival, no starvation.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "async/on_loop.h"
#include "async/sync.h"
#include "testing/seeded_random.h"
#include "testing/simulated_runtime.h"

namespace ashlar {
namespace {

Task<void> hold_range(RangeLock& lock, ByteRange range, std::string& order, char name) {
  const RangeLock::Guard guard = co_await lock.lock(range);
  order += name;
  co_await sleep_for(1'000'000);
  order += static_cast<char>(name - 'a' + 'A');
}

TEST(RangeLock, DisjointRangesGoTogetherAndOverlappingOnesInOrder) {
  struct Body {
    static Task<void> go(std::string& order) {
      Scope scope;
      RangeLock lock;
      scope.spawn(hold_range(lock, {0, 100}, order, 'a'));
      scope.spawn(hold_range(lock, {50, 100}, order, 'b'));   // waits for a
      scope.spawn(hold_range(lock, {200, 100}, order, 'c'));  // disjoint
      scope.spawn(hold_range(lock, {149, 1}, order, 'd'));    // waits for b
      co_await scope.join();
      EXPECT_TRUE(lock.idle());
    }
  };
  SimulatedRuntime runtime(1);
  std::string order;
  sync_wait(runtime, Body::go(order));
  EXPECT_EQ(order, "acACbBdD");
}

TEST(RangeLock, AWaitingRangeHoldsUpLaterOnesThatTouchIt) {
  struct Body {
    static Task<void> go(std::string& order) {
      Scope scope;
      RangeLock lock;
      scope.spawn(hold_range(lock, {0, 10}, order, 'a'));
      scope.spawn(hold_range(lock, {0, 100}, order, 'b'));  // big: waits for a
      for (int round = 0; round < 3; ++round) {
        scope.spawn(hold_range(lock, {50, 10}, order, 'c'));  // free now, but b came first
      }
      co_await scope.join();
    }
  };
  SimulatedRuntime runtime(2);
  std::string order;
  sync_wait(runtime, Body::go(order));
  EXPECT_EQ(order, "aAbBcCcCcC");
}

TEST(RangeLock, EmptyRangesLockNothing) {
  struct Body {
    static Task<void> go(bool& got_it) {
      RangeLock lock;
      const RangeLock::Guard all = co_await lock.lock({0, 100});
      const RangeLock::Guard none = co_await lock.lock({50, 0});
      got_it = true;
    }
  };
  SimulatedRuntime runtime(3);
  bool got_it = false;
  sync_wait(runtime, Body::go(got_it));
  EXPECT_TRUE(got_it);
}

Task<void> wait_and_note(RangeLock& lock, ByteRange range, std::string& order) {
  co_await lock.wait_for(range);
  order += 'w';
}

TEST(RangeLock, WaitingForARangeTakesNothingAndIgnoresWhoComesLater) {
  struct Body {
    static Task<void> go(std::string& order) {
      Scope scope;
      RangeLock lock;
      scope.spawn(hold_range(lock, {0, 10}, order, 'a'));
      scope.spawn(wait_and_note(lock, {5, 100}, order));
      scope.spawn(hold_range(lock, {50, 10}, order, 'b'));  // not held up by who only waits
      scope.spawn(hold_range(lock, {0, 10}, order, 'c'));
      scope.spawn(wait_and_note(lock, {500, 1}, order));  // nobody is there
      co_await scope.join();
    }
  };
  SimulatedRuntime runtime(4);
  std::string order;
  sync_wait(runtime, Body::go(order));
  EXPECT_EQ(order.substr(0, 3), "abw");
  EXPECT_LT(order.find('A'), order.find('w', 3));
  EXPECT_LT(order.find('w', 3), order.find('C'));
}

TEST(RangeLock, AGuardUnlocksOnceHoweverItIsMoved) {
  struct Body {
    static Task<void> go() {
      RangeLock lock;
      RangeLock::Guard first = co_await lock.lock({0, 10});
      RangeLock::Guard second = std::move(first);
      first = co_await lock.lock({20, 10});
      second = std::move(first);  // unlocks 0..10
      const RangeLock::Guard again = co_await lock.lock({0, 10});
      EXPECT_FALSE(lock.idle());
      second.unlock();
      second.unlock();
    }
  };
  SimulatedRuntime runtime(5);
  sync_wait(runtime, Body::go());
}

constexpr uint64_t kCells = 16;
struct Cells {
  RangeLock lock;
  std::array<int, kCells> users{};  // not atomic: the range lock protects each
};

Task<void> use_ranges(Cells& cells, uint64_t seed) {
  SeededRandom random(seed);
  for (int round = 0; round < 30; ++round) {
    const uint64_t first = random.below(kCells);
    const ByteRange range = {first, random.between(1, kCells - first)};
    RangeLock::Guard guard = co_await cells.lock.lock(range);
    for (uint64_t at = range.offset; at < range.end(); ++at) EXPECT_EQ(++cells.users[at], 1);
    if (random.one_in(2)) co_await yield();
    for (uint64_t at = range.offset; at < range.end(); ++at) --cells.users[at];
    guard.unlock();
    if (random.one_in(4)) co_await cells.lock.wait_for(range.first(1));
  }
}

Task<void> use_from_three_loops(Runtime& runtime) {
  Scope scope;
  Cells cells;
  for (unsigned index = 0; index < 6; ++index) {
    struct There {
      static Task<void> go(Loop& loop, Task<void> task) {
        OnLoop<void> there(loop, std::move(task));
        co_await there;
      }
    };
    scope.spawn(There::go(runtime.loop(index % 3), use_ranges(cells, index)));
  }
  co_await scope.join();
  EXPECT_TRUE(cells.lock.idle());
}

TEST(RangeLock, NeverSharesAByteInAnyOrder) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimulatedRuntime runtime(seed, 3);
    sync_wait(runtime, use_from_three_loops(runtime));
  }
}

TEST(RangeLock, NeverSharesAByteBetweenThreads) {
  auto runtime = Runtime::create({.io_loops = 2});
  sync_wait(*runtime, use_from_three_loops(*runtime));
}

}  // namespace
}  // namespace ashlar
