// The simulated runtime's claims: replay, disorder, virtual time, deadlocks found.
#include "testing/simulated_runtime.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "async/io_operation.h"
#include "async/on_loop.h"
#include "async/sync.h"

namespace ashlar {
namespace {

Task<void> append_thrice(std::string& trace, char name) {
  for (int round = 0; round < 3; ++round) {
    trace += name;
    co_await yield();
  }
}

Task<void> trace_three_loops(Runtime& runtime, std::string& trace) {
  Scope scope;
  for (unsigned index = 0; index < 3; ++index) {
    struct OnThat {
      static Task<void> go(Loop& loop, std::string& trace, char name) {
        OnLoop<void> there(loop, append_thrice(trace, name));
        co_await there;
      }
    };
    const char name = static_cast<char>('a' + index);
    scope.spawn(OnThat::go(runtime.loop(index), trace, name));
  }
  co_await scope.join();
}

std::string trace_of(uint64_t seed) {
  SimulatedRuntime runtime(seed, 3);
  std::string trace;
  sync_wait(runtime, trace_three_loops(runtime, trace));
  return trace;
}

TEST(SimulatedRuntime, TheSameSeedGivesTheSameOrder) {
  for (uint64_t seed = 0; seed < 20; ++seed) EXPECT_EQ(trace_of(seed), trace_of(seed));
}

TEST(SimulatedRuntime, DifferentSeedsGiveDifferentOrders) {
  std::set<std::string> traces;
  for (uint64_t seed = 0; seed < 200; ++seed) traces.insert(trace_of(seed));
  EXPECT_GT(traces.size(), 50u);
}

TEST(SimulatedRuntime, AYearOfSleepTakesNoTime) {
  SimulatedRuntime runtime(1);
  constexpr uint64_t kYear = 365ull * 24 * 3600 * 1'000'000'000;
  const uint64_t before = runtime.now_ns();
  sync_wait(runtime, sleep_for(kYear));
  EXPECT_GE(runtime.now_ns() - before, kYear);
  EXPECT_LT(runtime.steps(), 10u);
}

Task<void> poll_until(uint64_t deadline_ns) {
  while (Loop::current().now_ns() < deadline_ns) co_await yield();
}

TEST(SimulatedRuntime, TheClockMovesEvenWhileSomethingIsAlwaysReady) {
  SimulatedRuntime runtime(1);
  sync_wait(runtime, poll_until(runtime.now_ns() + 100'000));
  EXPECT_GE(runtime.steps(), 100u);
}

Task<void> lock_twice(Mutex& mutex) {
  const Mutex::Guard first = co_await mutex.lock();
  const Mutex::Guard second = co_await mutex.lock();
}

TEST(SimulatedRuntime, ADeadlockIsReportedWithItsSeed) {
  // What is stuck keeps its frame; held by statics, it is no leak.
  static SimulatedRuntime runtime(0xabc);
  static Mutex mutex;
  try {
    runtime.run(lock_twice(mutex));
    FAIL() << "a coroutine locked a mutex twice";
  } catch (const SimulationStuck& stuck) {
    EXPECT_NE(std::string(stuck.what()).find("deadlock"), std::string::npos) << stuck.what();
    EXPECT_NE(std::string(stuck.what()).find("seed 0xabc"), std::string::npos) << stuck.what();
  }
}

Task<bool> worker_sees_a_loop() {
  OnWorker question([] { return Loop::current_or_null() != nullptr; });
  co_return co_await question;
}

TEST(SimulatedRuntime, WorkersRunOutsideOfAllLoops) {
  SimulatedRuntime runtime(3);
  EXPECT_FALSE(sync_wait(runtime, worker_sees_a_loop()));
}

Task<int64_t> cancelled_timer() {
  struct Sleeper {
    static Task<void> go(IoOperation& timer, int64_t& result) { result = co_await timer; }
  };
  Scope scope;
  IoOperation timer = IoOperation::timer(~uint64_t{0});
  int64_t result = 0;
  scope.spawn(Sleeper::go(timer, result));
  IoOperation cancel = IoOperation::cancel(timer);
  co_await cancel;
  co_await scope.join();
  co_return result;
}

TEST(SimulatedRuntime, ATimerCanBeCancelled) {
  SimulatedRuntime runtime(4);
  EXPECT_EQ(sync_wait(runtime, cancelled_timer()), -ECANCELED);
}

}  // namespace
}  // namespace ashlar
