// Signals while a command runs that has something to clean up or to report.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

namespace ashlar::tools {

/// Watches SIGINT, SIGTERM, SIGHUP and SIGUSR1 from its construction to its destruction. Construct
/// it before anything that starts threads. Where none exists, those signals end the process.
/// A first request to stop is only noted: the command stops where it can clean up. A second one
/// ends the process at once.
class SignalWatcher {
 public:
  /// Called on a thread of the watcher's: `on_report` for SIGUSR1, `on_stop` for the first request
  /// to stop, after it has been noted.
  explicit SignalWatcher(std::function<void()> on_report = {}, std::function<void()> on_stop = {});
  SignalWatcher(const SignalWatcher&) = delete;
  ~SignalWatcher();

  /// The signal that asked to stop; 0: none so far. Cheap: ask between any two steps.
  int stop_signal() const noexcept { return stop_signal_.load(std::memory_order_relaxed); }
  bool stopping() const noexcept { return stop_signal() != 0; }
  /// The exit status of a command that was stopped.
  int exit_status() const noexcept { return 128 + stop_signal(); }

 private:
  void watch();

  std::function<void()> on_report_;
  std::function<void()> on_stop_;
  sigset_t before_{};
  int signals_ = -1;  // signalfd
  int done_ = -1;     // eventfd that ends the thread
  std::atomic<int> stop_signal_{0};
  std::thread thread_;
};

}  // namespace ashlar::tools
