// The claims of tasks and of the memory of their frames.
#include "ashlar/task.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/loop.h"
#include "async/on_loop.h"

namespace ashlar {
namespace {

Task<int> three() { co_return 3; }

Task<int> sum_of(int count, Task<int> (*term)()) {
  int sum = 0;
  for (int index = 0; index < count; ++index) sum += co_await term();
  co_return sum;
}

/// Runs a task that completes at once, without any loop.
template <typename T>
std::optional<T> run_at_once(Task<T> task) {
  struct Runner {
    static Detached go(Task<T> task, std::optional<T>& result) { result.emplace(co_await task); }
  };
  std::optional<T> result;
  Runner::go(std::move(task), result);
  return result;
}

TEST(Task, GivesTheResult) { EXPECT_EQ(run_at_once(three()), 3); }

Task<void> set_true(bool& flag) {
  flag = true;
  co_return;
}

TEST(Task, DoesNotStartBeforeItIsAwaited) {
  bool started = false;
  {
    Task<void> never_awaited = set_true(started);
  }
  EXPECT_FALSE(started);
}

TEST(Task, AMillionAwaitsThatCompleteAtOnceDoNotGrowTheStack) {
  EXPECT_EQ(run_at_once(sum_of(1'000'000, three)), 3'000'000);
}

Task<int> three_levels_down() {
  struct Level {
    static Task<int> two() { co_return co_await one(); }
    static Task<int> one() { co_return co_await three(); }
  };
  co_return co_await Level::two();
}

TEST(Task, SoDoMillionsThroughSeveralLevels) {
  EXPECT_EQ(run_at_once(sum_of(300'000, three_levels_down)), 900'000);
}

Task<int> three_later() {
  co_await yield();
  co_return 3;
}

TEST(Task, AHundredThousandAwaitsThatSuspendDoNotGrowTheStack) {
  auto runtime = Runtime::create();
  EXPECT_EQ(sync_wait(*runtime, sum_of(100'000, three_later)), 300'000);
}

Task<int> recurse(int depth) {
  if (depth == 0) {
    co_await yield();
    co_return 0;
  }
  const int below = co_await recurse(depth - 1);
  co_return below + 1;
}

TEST(Task, AThousandLevelsDeepUnwindOneByOne) {
  auto runtime = Runtime::create();
  EXPECT_EQ(sync_wait(*runtime, recurse(1000)), 1000);
}

Task<std::unique_ptr<int>> boxed(int value) { co_return std::make_unique<int>(value); }

TEST(Task, CarriesResultsThatOnlyMove) {
  const auto box = run_at_once(boxed(7));
  ASSERT_TRUE(box);
  EXPECT_EQ(**box, 7);
}

Task<Result<int>> half(int value) {
  if (value % 2 != 0) co_return fail(ErrorCode::kInvalidArgument, "odd");
  co_return value / 2;
}

TEST(Task, ReturnsValuesAndErrorsAlike) {
  EXPECT_EQ(run_at_once(half(8))->value(), 4);
  EXPECT_EQ(run_at_once(half(7))->error().message(), "odd");
}

struct Tracker {
  explicit Tracker(int& alive) : count(alive) { ++count; }
  Tracker(const Tracker& other) : count(other.count) { ++count; }
  ~Tracker() { --count; }
  int& count;
};

Task<int> hold(Tracker argument) {
  const Tracker local(argument.count);
  co_return argument.count;
}

TEST(Task, DestroysArgumentsAndLocalsOnceWhetherAwaitedOrNot) {
  int alive = 0;
  {
    Task<int> not_awaited = hold(Tracker(alive));
  }
  EXPECT_EQ(alive, 0);
  // The caller's temporary, the argument in the frame, the local.
  EXPECT_EQ(run_at_once(hold(Tracker(alive))), 3);
  EXPECT_EQ(alive, 0);
}

TEST(Task, AMovedFromTaskIsEmpty) {
  Task<int> first = three();
  Task<int> second = std::move(first);
  EXPECT_FALSE(first.valid());  // NOLINT: what a moved-from task is
  EXPECT_TRUE(second.valid());
}

TEST(FramePool, FramesInUseDoNotOverlap) {
  std::vector<std::pair<char*, size_t>> frames;
  for (size_t round = 0; round < 2; ++round) {
    for (size_t size = 1; size <= 5000; size += 37) {
      auto* frame = static_cast<char*>(allocate_frame(size));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(frame) % alignof(std::max_align_t), 0u);
      std::memset(frame, static_cast<int>(frames.size() % 251), size);
      frames.emplace_back(frame, size);
    }
  }
  for (size_t index = 0; index < frames.size(); ++index) {
    const auto [frame, size] = frames[index];
    for (const size_t at : {size_t{0}, size - 1}) EXPECT_EQ(frame[at], char(index % 251));
    release_frame(frame, size);
  }
}

TEST(FramePool, AnotherThreadMayRelease) {
  std::vector<void*> frames;
  for (int count = 0; count < 5000; ++count) frames.push_back(allocate_frame(200));
  std::thread other([&frames] {
    for (void* frame : frames) release_frame(frame, 200);
    release_frame(allocate_frame(200), 200);
  });
  other.join();
  release_frame(allocate_frame(200), 200);
}

}  // namespace
}  // namespace ashlar
