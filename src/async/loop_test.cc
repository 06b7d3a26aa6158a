// The claims of loops: posts, timers, other loops, workers, ending. With each of the two engines.
#include "ashlar/loop.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <coroutine>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "async/io_operation.h"
#include "async/on_loop.h"
#include "async/sync.h"

namespace ashlar {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kForEver = ~uint64_t{0};
using Files = RuntimeOptions::FileBackend;

class LoopTest : public testing::TestWithParam<Files> {
 protected:
  std::unique_ptr<Runtime> make(unsigned io_loops = 0) {
    return Runtime::create({.io_loops = io_loops, .workers = 2, .files = GetParam()});
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, LoopTest, testing::Values(Files::kAutomatic, Files::kThreads),
                         [](const auto& info) {
                           return info.param == Files::kAutomatic ? "Ring" : "Threads";
                         });

/// Makes the loop of this test use its engine, so that it sleeps there.
Task<void> use_engine() {
  std::array<int, 2> ends;
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  co_await IoOperation::poll(ends[0], POLLOUT);
  close(ends[0]);
  close(ends[1]);
}

Task<void> note_after(uint64_t pause_ns, std::string& order, char name) {
  co_await sleep_for(pause_ns);
  order += name;
}

Task<void> sleep_out_of_order(std::string& order) {
  co_await use_engine();
  Scope scope;
  scope.spawn(note_after(6 * kMillisecond, order, 'c'));
  scope.spawn(note_after(2 * kMillisecond, order, 'a'));
  scope.spawn(note_after(4 * kMillisecond, order, 'b'));
  scope.spawn(note_after(0, order, '0'));
  co_await scope.join();
}

TEST_P(LoopTest, TimersFireInOrderOfTheirDeadlinesAndNotEarly) {
  auto runtime = make();
  std::string order;
  const uint64_t before = runtime->control_loop().now_ns();
  sync_wait(*runtime, sleep_out_of_order(order));
  EXPECT_EQ(order, "0abc");
  EXPECT_GE(runtime->control_loop().now_ns() - before, 6 * kMillisecond);
}

Task<void> await_and_store(IoOperation& operation, int64_t& result) { result = co_await operation; }

Task<int64_t> cancel_one(IoOperation& victim) {
  Scope scope;
  int64_t result = 0;
  scope.spawn(await_and_store(victim, result));
  co_await yield();
  IoOperation cancel = IoOperation::cancel(victim);
  EXPECT_EQ(co_await cancel, 0);
  co_await scope.join();
  co_return result;
}

TEST_P(LoopTest, CancelEndsATimerAndAPoll) {
  auto runtime = make();
  IoOperation timer = IoOperation::timer(kForEver);
  EXPECT_EQ(sync_wait(*runtime, cancel_one(timer)), -ECANCELED);
  std::array<int, 2> ends;
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  IoOperation poll = IoOperation::poll(ends[0], POLLIN);
  EXPECT_EQ(sync_wait(*runtime, cancel_one(poll)), -ECANCELED);
  close(ends[0]);
  close(ends[1]);
}

Task<unsigned> loop_index() { co_return Loop::current().index(); }

Task<std::string> indices(Runtime& runtime) {
  std::string seen;
  for (unsigned index = 0; index < runtime.loop_count(); ++index) {
    OnLoop<unsigned> there(runtime.loop(index), loop_index());
    seen += std::to_string(co_await there);
    seen += std::to_string(Loop::current().index());
  }
  co_return seen;
}

TEST_P(LoopTest, AnotherLoopRunsTheTaskAndTheResultComesHome) {
  auto runtime = make(2);
  EXPECT_EQ(sync_wait(*runtime, indices(*runtime)), "001020");
}

Task<std::unique_ptr<int>> worked(std::thread::id& thread) {
  OnWorker work([&thread] {
    thread = std::this_thread::get_id();
    return std::make_unique<int>(5);
  });
  co_return co_await work;
}

TEST_P(LoopTest, AWorkerRunsAFunctionOnAnotherThread) {
  auto runtime = make();
  std::thread::id thread;
  const std::unique_ptr<int> result = sync_wait(*runtime, worked(thread));
  EXPECT_EQ(*result, 5);
  EXPECT_NE(thread, std::this_thread::get_id());
}

Task<void> one_piece_of_work(std::atomic<int>& running, std::atomic<int>& most,
                             std::atomic<int>& done) {
  OnWorker work([&] {
    const int now = ++running;
    int seen = most.load();
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
    std::this_thread::yield();
    --running;
    ++done;
  });
  co_await work;
}

Task<void> much_work(std::atomic<int>& most, std::atomic<int>& done) {
  Scope scope;
  std::atomic<int> running = 0;
  for (int piece = 0; piece < 500; ++piece) scope.spawn(one_piece_of_work(running, most, done));
  co_await scope.join();
}

TEST_P(LoopTest, NoMoreWorkersRunThanAskedFor) {
  auto runtime = make();
  std::atomic<int> most = 0;
  std::atomic<int> done = 0;
  sync_wait(*runtime, much_work(most, done));
  EXPECT_EQ(done, 500);
  EXPECT_LE(most, 2);
}

/// Counts its runs; posted many times by several threads.
struct CountingPost : Posted {
  std::atomic<int>* count = nullptr;
};

Task<void> wait_for_count(std::atomic<int>& count, int wanted) {
  co_await use_engine();
  while (count.load() < wanted) co_await sleep_for(kMillisecond);
}

TEST_P(LoopTest, PostsFromManyThreadsAllRun) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 2000;
  auto runtime = make(1);
  std::atomic<int> count = 0;
  std::vector<CountingPost> posts(kThreads * kPosts);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int index = 0; index < kPosts; ++index) {
        CountingPost& post = posts[static_cast<size_t>(thread * kPosts + index)];
        post.count = &count;
        post.run = [](Posted& work) noexcept { ++*static_cast<CountingPost&>(work).count; };
        runtime->loop(static_cast<unsigned>(index % 2)).post(post);
      }
    });
  }
  sync_wait(*runtime, wait_for_count(count, kThreads * kPosts));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads * kPosts);
}

Task<int> ping_pong(Runtime& runtime, int rounds) {
  co_await use_engine();
  int sum = 0;
  for (int round = 0; round < rounds; ++round) {
    // Each side sleeps while the other works: a lost wake-up would hang here.
    OnLoop<unsigned> there(runtime.loop(1), loop_index());
    sum += static_cast<int>(co_await there);
  }
  co_return sum;
}

TEST_P(LoopTest, NoWakeUpIsLost) {
  auto runtime = make(1);
  EXPECT_EQ(sync_wait(*runtime, ping_pong(*runtime, 2000)), 2000);
}

/// Hands itself to a thread that posts it back.
class PostedBack : Posted {
 public:
  explicit PostedBack(std::atomic<Posted*>& mailbox) : mailbox_(mailbox) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept {
    waiter_ = self;
    run = [](Posted& work) noexcept { static_cast<PostedBack&>(work).waiter_.resume(); };
    mailbox_.store(this);
  }
  void await_resume() const noexcept {}

 private:
  std::atomic<Posted*>& mailbox_;
  std::coroutine_handle<> waiter_;
};

Task<void> be_posted_back(std::atomic<Posted*>& mailbox, int times) {
  co_await use_engine();
  for (int time = 0; time < times; ++time) {
    PostedBack round(mailbox);
    co_await round;
  }
}

TEST_P(LoopTest, APostThatMeetsTheLoopFallingAsleepWakesIt) {
  constexpr int kTimes = 20'000;
  auto runtime = make();
  std::atomic<Posted*> mailbox = nullptr;
  std::thread other([&] {
    for (int time = 0; time < kTimes; ++time) {
      while (mailbox.load() == nullptr) std::this_thread::yield();
      Posted* work = mailbox.exchange(nullptr);
      // Sweeps over the moments around the one at which the loop goes to sleep.
      for (volatile int spin = 0; spin < time % 400;) spin = spin + 1;
      runtime->control_loop().post(*work);
    }
  });
  sync_wait(*runtime, be_posted_back(mailbox, kTimes));
  other.join();
}

TEST_P(LoopTest, TheControlLoopMayRunOnAnotherThreadNextTime) {
  auto runtime = make();
  sync_wait(*runtime, use_engine());
  std::thread other([&runtime] { sync_wait(*runtime, use_engine()); });
  other.join();
  sync_wait(*runtime, use_engine());
}

Task<void> never_ends(int fd, std::atomic<int>& ended) {
  Scope scope;
  int64_t polled = 0;
  int64_t slept = 0;
  IoOperation poll = IoOperation::poll(fd, POLLIN);
  IoOperation timer = IoOperation::timer(kForEver);
  scope.spawn(await_and_store(poll, polled));
  scope.spawn(await_and_store(timer, slept));
  co_await scope.join();
  EXPECT_EQ(polled, -ECANCELED);
  EXPECT_EQ(slept, -ECANCELED);
  ++ended;
}

Task<void> start_on_all(Runtime& runtime, Scope& scope, int fd, std::atomic<int>& ended) {
  struct There {
    static Task<void> go(Loop& loop, Task<void> task) {
      OnLoop<void> there(loop, std::move(task));
      co_await there;
    }
  };
  for (unsigned index = 0; index < runtime.loop_count(); ++index) {
    scope.spawn(There::go(runtime.loop(index), never_ends(fd, ended)));
  }
  co_return;
}

TEST_P(LoopTest, TheEndOfTheRuntimeCancelsWhatIsStillInFlight) {
  std::array<int, 2> ends;
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  std::atomic<int> ended = 0;
  Scope scope;
  auto runtime = make(2);
  sync_wait(*runtime, start_on_all(*runtime, scope, ends[0], ended));
  sync_wait(*runtime, sleep_for(kMillisecond));
  runtime.reset();
  EXPECT_EQ(ended, 3);
  EXPECT_EQ(scope.running(), 0u);
  close(ends[0]);
  close(ends[1]);
}

TEST_P(LoopTest, RuntimesComeAndGoCheaply) {
  for (int round = 0; round < 50; ++round) {
    auto runtime = make(2);
    EXPECT_EQ(runtime->loop_count(), 3u);
    if (round % 2 == 0) sync_wait(*runtime, sleep_for(1));
  }
}

Task<uint64_t> one_random() { co_return Loop::current().random(); }

TEST_P(LoopTest, RandomBitsDiffer) {
  auto runtime = make();
  const uint64_t first = sync_wait(*runtime, one_random());
  int same = 0;
  for (int round = 0; round < 100; ++round) same += sync_wait(*runtime, one_random()) == first;
  EXPECT_EQ(same, 0);
  EXPECT_GT(runtime->control_loop().wall_clock_ns(), 1'600'000'000'000'000'000u);
}

}  // namespace
}  // namespace ashlar
