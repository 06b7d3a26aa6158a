// How the search for news adapts, and what loops do with it. Nothing here depends on how long
// anything takes.
#include "async/adaptive_poll.h"

#include <gtest/gtest.h>

#include "async/event_loop.h"
#include "async/on_loop.h"

namespace ashlar {
namespace {

constexpr uint64_t kMax = 32'768;

AdaptivePoll poll_with(LoopTuning tuning) {
  AdaptivePoll poll;
  poll.tune(tuning);
  return poll;
}

TEST(AdaptivePoll, IsOffWithoutAMaximum) {
  AdaptivePoll poll;
  EXPECT_TRUE(poll.off());
  poll.waited(10);
  EXPECT_EQ(poll.duration_ns(), 0U);
}

TEST(AdaptivePoll, DoublesUpToTheMaximumWhileNewsComesALittleLater) {
  AdaptivePoll poll = poll_with({.poll_max_ns = kMax});
  EXPECT_EQ(poll.duration_ns(), 0U);
  std::vector<uint64_t> seen;
  for (int wait = 0; wait < 6; ++wait) {
    poll.waited(kMax - 1);
    seen.push_back(poll.duration_ns());
  }
  EXPECT_EQ(seen, (std::vector<uint64_t>{4000, 8000, 16'000, 32'000, kMax, kMax}));
}

TEST(AdaptivePoll, StaysAsItIsWhileNewsComesInTime) {
  AdaptivePoll poll = poll_with({.poll_max_ns = kMax});
  poll.waited(10'000);
  for (int wait = 0; wait < 5; ++wait) poll.waited(3999);
  EXPECT_EQ(poll.duration_ns(), 4000U);
}

TEST(AdaptivePoll, StopsWhenTheMaximumWouldNotHaveDone) {
  AdaptivePoll poll = poll_with({.poll_max_ns = kMax});
  poll.waited(kMax);
  EXPECT_NE(poll.duration_ns(), 0U);
  poll.waited(kMax + 1);
  EXPECT_EQ(poll.duration_ns(), 0U);
}

TEST(AdaptivePoll, GrowsAndShrinksByTheGivenFactors) {
  AdaptivePoll poll = poll_with({.poll_max_ns = 1'000'000, .poll_grow = 5, .poll_shrink = 4});
  for (int wait = 0; wait < 3; ++wait) poll.waited(900'000);
  EXPECT_EQ(poll.duration_ns(), 100'000U);
  poll.waited(1'000'001);
  EXPECT_EQ(poll.duration_ns(), 25'000U);
}

TEST(AdaptivePoll, AnyFactorReachesTheMaximumAndNothingPassesIt) {
  for (const uint64_t grow : {uint64_t{1}, uint64_t{2}, UINT64_MAX}) {
    AdaptivePoll poll = poll_with({.poll_max_ns = 5000, .poll_grow = grow});
    for (int wait = 0; wait < 2000; ++wait) poll.waited(5000);
    EXPECT_EQ(poll.duration_ns(), 5000U) << grow;
  }
}

TEST(AdaptivePoll, AWeightLetsOneWaitCountForLittle) {
  AdaptivePoll poll = poll_with({.poll_max_ns = kMax, .poll_weight = 3});
  for (int wait = 0; wait < 100; ++wait) poll.waited(20'000);
  const uint64_t usual = poll.duration_ns();
  EXPECT_GE(usual, 16'000U);
  poll.waited(UINT64_MAX);
  EXPECT_GE(poll.duration_ns(), usual);
  for (int wait = 0; wait < 100; ++wait) poll.waited(UINT64_MAX);
  EXPECT_EQ(poll.duration_ns(), 0U);
}

TEST(AdaptivePoll, ASmallerMaximumHoldsAtOnce) {
  AdaptivePoll poll = poll_with({.poll_max_ns = kMax});
  for (int wait = 0; wait < 10; ++wait) poll.waited(kMax);
  poll.tune({.poll_max_ns = 100});
  EXPECT_EQ(poll.duration_ns(), 100U);
  poll.tune({});
  EXPECT_EQ(poll.duration_ns(), 0U);
}

constexpr unsigned kNaps = 60;

/// Each nap is a rest of the loop, which has nothing else to do.
Task<EventLoop::Rests> take_naps(const EventLoop& here) {
  const uint64_t before = here.rests().slept + here.rests().polled;
  for (unsigned nap = 0; nap < kNaps; ++nap) co_await sleep_for(100'000);
  EXPECT_GE(here.rests().slept + here.rests().polled - before, kNaps);
  co_return here.rests();
}

EventLoop::Rests rests_of_naps(const LoopTuning& tuning) {
  const std::unique_ptr<Runtime> runtime = Runtime::create();
  Loop& loop = runtime->control_loop();
  tune(loop, tuning);
  return sync_wait(*runtime, take_naps(static_cast<const EventLoop&>(loop)));
}

TEST(LoopPolling, AnUntunedLoopNeverPolls) { EXPECT_EQ(rests_of_naps({}).polled, 0U); }

TEST(LoopPolling, ALoopWithTimeEnoughSleepsOnlyUntilItHasLearned) {
  constexpr uint64_t kMinute = 60'000'000'000;
  const EventLoop::Rests rests = rests_of_naps({.poll_max_ns = kMinute});
  // Each sleep at least doubles the search, from 4 us to a minute.
  EXPECT_LE(rests.slept, 26U);
  EXPECT_GE(rests.polled, kNaps - 26);
}

constexpr int kVisits = 100;

Task<int> one_more(int count) { co_return count + 1; }

/// Goes to another loop and back: both wait for each other all the time.
Task<int> visit(Loop& other) {
  int count = 0;
  while (count < kVisits) {
    OnLoop<int> there(other, one_more(count));
    count = co_await there;
  }
  co_return count;
}

TEST(LoopPolling, NoVisitIsLostWhileBothSidesPoll) {
  const std::unique_ptr<Runtime> runtime = Runtime::create({.io_loops = 1});
  for (const uint64_t most : {uint64_t{1000}, uint64_t{50'000}, uint64_t{60'000'000'000}}) {
    tune(runtime->loop(0), {.poll_max_ns = most});
    tune(runtime->loop(1), {.poll_max_ns = most, .poll_shrink = 2});
    EXPECT_EQ(sync_wait(*runtime, visit(runtime->loop(1))), kVisits);
  }
}

}  // namespace
}  // namespace ashlar
