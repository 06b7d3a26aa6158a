// The claims of scope, mutex and semaphore, in simulation (every order) and on threads (every
// race).
#include "async/sync.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "async/on_loop.h"
#include "testing/simulated_runtime.h"

namespace ashlar {
namespace {

constexpr uint64_t kSeeds = 200;

/// Runs `body(runtime)` in simulation on three loops with many seeds, then on three real loops.
template <typename Body>
void in_every_way(Body body) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SimulatedRuntime runtime(seed, 3);
    sync_wait(runtime, body(runtime));
    if (testing::Test::HasFailure()) return;
  }
  SCOPED_TRACE("threads");
  auto runtime = Runtime::create({.io_loops = 2});
  sync_wait(*runtime, body(*runtime));
}

Task<void> run_there(Loop& loop, Task<void> task) {
  OnLoop<void> there(loop, std::move(task));
  co_await there;
}

Task<void> count_after(uint64_t pause_ns, std::atomic<int>& count) {
  co_await sleep_for(pause_ns);
  ++count;
}

Task<void> scope_joins_all(Runtime& runtime) {
  Scope scope;
  std::atomic<int> count = 0;
  for (unsigned index = 0; index < 30; ++index) {
    scope.spawn(run_there(runtime.loop(index % 3), count_after(index % 5 * 1000, count)));
  }
  co_await scope.join();
  EXPECT_EQ(count, 30);
  EXPECT_EQ(scope.running(), 0u);
}

TEST(Scope, JoinWaitsForEveryTask) { in_every_way(scope_joins_all); }

Task<void> scope_has_rounds(Runtime&) {
  Scope scope;
  std::atomic<int> count = 0;
  co_await scope.join();  // nothing to wait for
  scope.spawn(count_after(1000, count));
  co_await scope.join();
  EXPECT_EQ(count, 1);
  scope.spawn(count_after(1000, count));
  co_await scope.join();
  EXPECT_EQ(count, 2);
}

TEST(Scope, CanBeUsedAgainAfterAJoin) { in_every_way(scope_has_rounds); }

Task<void> join_and_count(Scope& scope, std::atomic<int>& joined) {
  co_await scope.join();
  ++joined;
}

Task<void> two_joiners(Runtime& runtime) {
  Scope work;
  Scope joiners;
  std::atomic<int> count = 0;
  std::atomic<int> joined = 0;
  work.spawn(count_after(5000, count));
  joiners.spawn(join_and_count(work, joined));
  joiners.spawn(run_there(runtime.loop(1), join_and_count(work, joined)));
  co_await joiners.join();
  EXPECT_EQ(joined, 2);
  EXPECT_EQ(count, 1);
}

TEST(Scope, LetsSeveralWaitForTheSameEnd) { in_every_way(two_joiners); }

struct Guarded {
  Mutex mutex;
  int inside = 0;  // not atomic: the mutex protects it
  int total = 0;
};

Task<void> enter_often(Guarded& state, int times) {
  for (int time = 0; time < times; ++time) {
    const Mutex::Guard guard = co_await state.mutex.lock();
    EXPECT_EQ(++state.inside, 1);
    if (time % 3 == 0) co_await yield();
    ++state.total;
    --state.inside;
  }
}

Task<void> mutex_excludes(Runtime& runtime) {
  Scope scope;
  Guarded state;
  for (unsigned index = 0; index < 9; ++index) {
    scope.spawn(run_there(runtime.loop(index % 3), enter_often(state, 20)));
  }
  co_await scope.join();
  EXPECT_EQ(state.total, 180);
}

TEST(Mutex, LetsOneInAtATime) { in_every_way(mutex_excludes); }

Task<void> note_turn(Mutex& mutex, std::string& order, char name) {
  const Mutex::Guard guard = co_await mutex.lock();
  order += name;
  co_await yield();
}

Task<void> mutex_is_fair(Runtime&) {
  Scope scope;
  Mutex mutex;
  std::string order;
  Mutex::Guard held = co_await mutex.lock();
  for (const char name : {'a', 'b', 'c', 'd'}) scope.spawn(note_turn(mutex, order, name));
  held.unlock();
  scope.spawn(note_turn(mutex, order, 'e'));  // comes when the mutex was just handed on
  co_await scope.join();
  EXPECT_EQ(order, "abcde");
}

TEST(Mutex, ServesInOrderOfArrival) { in_every_way(mutex_is_fair); }

Task<void> take_permits(Semaphore& semaphore, uint64_t count, std::atomic<int64_t>& taken) {
  for (int time = 0; time < 10; ++time) {
    co_await semaphore.acquire(count);
    EXPECT_LE(taken.fetch_add(static_cast<int64_t>(count)) + static_cast<int64_t>(count), 4);
    co_await yield();
    taken.fetch_sub(static_cast<int64_t>(count));
    semaphore.release(count);
  }
}

Task<void> semaphore_bounds(Runtime& runtime) {
  Scope scope;
  Semaphore semaphore(4);
  std::atomic<int64_t> taken = 0;
  for (unsigned index = 0; index < 9; ++index) {
    Task<void> task = take_permits(semaphore, index % 4 + 1, taken);
    scope.spawn(run_there(runtime.loop(index % 3), std::move(task)));
  }
  co_await scope.join();
  EXPECT_TRUE(semaphore.try_acquire(4));
}

TEST(Semaphore, NeverGivesMoreThanItHas) { in_every_way(semaphore_bounds); }

Task<void> take_once(Semaphore& semaphore, uint64_t count, std::string& order, char name) {
  co_await semaphore.acquire(count);
  order += name;
}

Task<void> semaphore_is_fair(Runtime&) {
  Scope scope;
  Semaphore semaphore(1);
  std::string order;
  scope.spawn(take_once(semaphore, 3, order, 'b'));  // wants more than there is
  EXPECT_FALSE(semaphore.try_acquire(1)) << "overtook who waits";
  scope.spawn(take_once(semaphore, 1, order, 's'));
  co_await yield();
  EXPECT_EQ(order, "");
  semaphore.release(2);
  co_await yield();
  EXPECT_EQ(order, "b");
  semaphore.release(1);
  co_await scope.join();
  EXPECT_EQ(order, "bs");
}

TEST(Semaphore, WhoAsksForManyIsNotOvertaken) { in_every_way(semaphore_is_fair); }

}  // namespace
}  // namespace ashlar
