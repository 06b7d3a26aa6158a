// The loop of real programs: posts, timers, and an engine for files and sockets made on demand.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "ashlar/loop.h"
#include "async/adaptive_poll.h"
#include "async/io_engine.h"
#include "async/posted_queue.h"
#include "async/timer_heap.h"
#include "async/wake_descriptor.h"
#include "async/worker_pool.h"

namespace ashlar {

/// One thread's loop. Each turn runs what is ready, then hands all operations to the engine in one
/// call, which also sleeps when nothing is ready. Without an engine it sleeps on a condition.
class EventLoop final : public Loop {
 public:
  struct Setup {
    RuntimeOptions::FileBackend files;
    WorkerPool* blocking_calls;  // for the engine that has no ring
  };
  EventLoop(Runtime& runtime, unsigned index, Setup setup);
  ~EventLoop() override;

  uint64_t now_ns() noexcept override;
  uint64_t wall_clock_ns() noexcept override;
  uint64_t random() noexcept override;
  void post(Posted& work) noexcept override;
  void submit(IoOperation& operation) noexcept override;
  /// From any thread.
  void tune(const LoopTuning& tuning) noexcept;

  /// Runs `task` on this thread until it has finished. For the control loop.
  void run(Task<void> task);
  /// Cancels what is in flight and runs here until nothing is left. For the control loop.
  void drain() noexcept;

  /// How often there was nothing to do. To be read when the loop is at rest.
  struct Rests {
    uint64_t slept = 0;
    uint64_t polled = 0;  ///< news came before it had to sleep
  };
  const Rests& rests() const noexcept { return rests_; }

  /// Lets the first post start a thread for this loop.
  void start_on_demand() noexcept { rest_.store(Rest::kNotStarted); }
  /// Cancels what is in flight, runs until nothing is left, ends the thread. May be called again,
  /// for a loop that was first posted to while others were stopped.
  void stop() noexcept;

 private:
  /// How a poster finds the loop: it must do something unless it is awake.
  enum class Rest : uint8_t { kAwake, kOnCondition, kInEngine, kNotStarted };

  void serve() noexcept;
  void turn() noexcept;
  void run_ready() noexcept;
  void fire_timers() noexcept;
  void rest() noexcept;
  bool look_for_news(uint64_t start_ns) noexcept;
  void sleep() noexcept;
  void adopt_tuning() noexcept;
  void sleep_on_condition(uint64_t timeout_ns) noexcept;
  void rouse() noexcept;
  void cancel(IoOperation& operation) noexcept;
  bool try_early_read(IoOperation& operation) noexcept;
  void cancel_everything() noexcept;
  bool anything_left() const noexcept;
  IoEngine* engine() noexcept;
  /// A ring belongs to the thread that made it; a program may run the loop on another one later.
  void leave_engine_of_other_thread() noexcept;

  const Setup setup_;
  PostedQueue ready_;
  TimerHeap timers_;
  WakeDescriptor wake_;  // outlives the engine: a poster may be late
  std::unique_ptr<IoEngine> engine_;
  std::thread::id engine_thread_;
  unsigned early_reads_left_ = 64;
  bool stopping_ = false;
  AdaptivePoll poll_;
  size_t max_batch_ = 0;
  Rests rests_;
  std::array<uint64_t, 32> random_words_;
  size_t random_left_ = 0;

  // Shared with posters.
  alignas(64) PostedInbox inbox_;
  std::atomic<Rest> rest_{Rest::kAwake};
  std::atomic<bool> stop_wanted_{false};
  std::atomic<bool> tuning_changed_{false};
  std::mutex guard_;
  LoopTuning tuning_;  // under guard_
  std::condition_variable roused_condition_;
  bool roused_ = false;
  std::thread thread_;
};

}  // namespace ashlar
