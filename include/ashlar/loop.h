// Loop: one thread's event loop, and the only way to time, randomness, files and threads.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "ashlar/task.h"

namespace ashlar {

class IoOperation;  // src/async/io_operation.h: a file or socket operation in flight
class Runtime;

/// Most loops of one runtime; per-loop counters are arrays of this size.
inline constexpr unsigned kMaxLoops = 64;

/// A piece of work for a loop. Intrusive: the owner keeps it alive until it has run.
struct Posted {
  Posted* next = nullptr;
  /// Runs on the loop's thread. May destroy the object that holds this.
  void (*run)(Posted&) noexcept = nullptr;
};

/// Where requests run. All coroutines of a request start, run and end on one loop.
/// There are two kinds: io_uring (with a fallback to a pool of blocking calls), and a simulated
/// one.
class Loop {
 public:
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  virtual ~Loop() = default;

  /// The loop that is running on this thread. There must be one.
  static Loop& current() noexcept;
  /// The loop that is running on this thread, or none.
  static Loop* current_or_null() noexcept;

  /// Which of its runtime's loops this is, from 0; loop 0 is the control loop.
  unsigned index() const noexcept { return index_; }
  Runtime& runtime() const noexcept { return *runtime_; }

  /// Monotonic time. Virtual in simulation.
  virtual uint64_t now_ns() noexcept = 0;
  /// Wall-clock time since the epoch, for time stamps.
  virtual uint64_t wall_clock_ns() noexcept = 0;
  /// Random bits; reproducible in simulation.
  virtual uint64_t random() noexcept = 0;

  /// Runs `work` on this loop, after what is queued already. From any thread.
  virtual void post(Posted& work) noexcept = 0;

  /// Starts a file, socket or timer operation; its completion resumes the waiting coroutine in
  /// this loop, never from inside this call. Only on the loop's own thread.
  virtual void submit(IoOperation& operation) noexcept = 0;

 protected:
  Loop(Runtime& runtime, unsigned index) : runtime_(&runtime), index_(index) {}
  /// Makes `loop` the current one of this thread while in scope.
  class Entered {
   public:
    explicit Entered(Loop& loop) noexcept;
    ~Entered();

   private:
    Loop* outer_;
  };

 private:
  Runtime* runtime_;
  unsigned index_;
};

/// How many loops and workers, and of which kind.
struct RuntimeOptions {
  /// I/O loops besides the control loop, each on a thread of its own.
  unsigned io_loops = 0;
  /// Threads for CPU-heavy work; 0 means one per core. Started at first use.
  unsigned workers = 0;
  /// Never use io_uring: the pool of blocking calls serves files.
  enum class FileBackend : uint8_t { kAutomatic, kThreads } files = FileBackend::kAutomatic;
};

/// Owns loops, their threads and the worker pool. Several can live in one process.
class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual unsigned loop_count() const noexcept = 0;
  virtual Loop& loop(unsigned index) noexcept = 0;
  Loop& control_loop() noexcept { return loop(0); }

  /// Runs the control loop on this thread until `task` has finished.
  /// Not from inside a coroutine. See sync_wait().
  virtual void run(Task<void> task) = 0;

  /// Runs `work` on a worker thread. In simulation: on the loop, at a seeded later time.
  virtual void run_on_worker(Posted& work) noexcept = 0;
  /// Worker threads there can be.
  virtual unsigned worker_count() const noexcept = 0;

  /// The real one: control loop on the thread that calls run(), I/O loops on threads.
  static std::unique_ptr<Runtime> create(const RuntimeOptions& options = {});
};

namespace loop_detail {
template <typename T>
Task<void> store_result(Task<T> task, std::optional<T>& result) {
  result.emplace(co_await std::move(task));
}
}  // namespace loop_detail

/// Runs `task` on the control loop of `runtime`, on this thread, and returns its result.
/// The bridge from ordinary code; never call it from a coroutine.
template <typename T>
T sync_wait(Runtime& runtime, Task<T> task) {
  std::optional<T> result;
  runtime.run(loop_detail::store_result(std::move(task), result));
  return std::move(*result);
}
inline void sync_wait(Runtime& runtime, Task<void> task) { runtime.run(std::move(task)); }

/// Awaitable: continues after `duration_ns` of the loop's time.
Task<void> sleep_for(uint64_t duration_ns);

/// Awaitable: lets everything else that is ready on this loop run first.
class YieldAwaiter : private Posted {
 public:
  YieldAwaiter() = default;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept;
  void await_resume() const noexcept {}

 private:
  std::coroutine_handle<> self_;
};
inline YieldAwaiter yield() { return YieldAwaiter(); }

}  // namespace ashlar
