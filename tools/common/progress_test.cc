// Claims about progress lines and the signals around them.
#include "tools/common/progress.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <string>
#include <thread>

namespace ashlar::tools {
namespace {

TEST(Progress, PrintsTheStartEveryPercentAndTheEnd) {
  testing::internal::CaptureStdout();
  {
    Program program("img", "img");
    Progress progress(program, Progress::Mode::kShown);
    for (uint64_t done = 0; done <= 1000; ++done) progress.update(done / 2, 1000);
    progress.finish();
    progress.finish();
  }
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_TRUE(text.starts_with("    (0.00/100%)\r    (1.00/100%)\r"));
  EXPECT_TRUE(text.ends_with("    (50.00/100%)\r    (100.00/100%)\r\n"));
}

TEST(Progress, SaysNothingUnlessAsked) {
  testing::internal::CaptureStdout();
  {
    Program program("img", "img");
    Progress progress(program, Progress::Mode::kNever);
    progress.update(1, 2);
    progress.finish();
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

void wait_until_noted(const SignalWatcher& watcher) {
  while (!watcher.stopping()) std::this_thread::yield();
}

TEST(SignalWatcher, NotesTheSignalThatAsksToStop) {
  const SignalWatcher watcher;
  EXPECT_FALSE(watcher.stopping());
  ASSERT_EQ(::kill(::getpid(), SIGTERM), 0);
  wait_until_noted(watcher);
  EXPECT_EQ(watcher.stop_signal(), SIGTERM);
  EXPECT_EQ(watcher.exit_status(), 128 + SIGTERM);
}

TEST(SignalWatcherDeathTest, EndsTheProcessAtTheSecondRequest) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto stop_twice = [] {
    const SignalWatcher watcher;
    ::kill(::getpid(), SIGINT);
    wait_until_noted(watcher);
    ::kill(::getpid(), SIGINT);
    for (;;) std::this_thread::yield();
  };
  EXPECT_EXIT(stop_twice(), testing::ExitedWithCode(128 + SIGINT), "");
}

TEST(SignalWatcher, LeavesSignalsAloneThatAreIgnored) {
  const auto before = std::signal(SIGHUP, SIG_IGN);
  {
    const SignalWatcher watcher;
    ASSERT_EQ(::kill(::getpid(), SIGHUP), 0);
    ASSERT_EQ(::kill(::getpid(), SIGTERM), 0);
    wait_until_noted(watcher);
    EXPECT_EQ(watcher.stop_signal(), SIGTERM);
  }
  std::signal(SIGHUP, before);
}

TEST(SignalWatcher, CallsForAReport) {
  std::atomic<bool> reported{false};
  const SignalWatcher watcher([&reported] { reported = true; });
  ASSERT_EQ(::kill(::getpid(), SIGUSR1), 0);
  while (!reported) std::this_thread::yield();
  EXPECT_FALSE(watcher.stopping());
}

}  // namespace
}  // namespace ashlar::tools
