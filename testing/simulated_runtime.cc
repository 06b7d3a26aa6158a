// The simulated runtime: its scheduler, clock and loops.
#include "testing/simulated_runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "async/on_loop.h"
#include "async/timer_heap.h"

namespace ashlar {
namespace {

constexpr uint64_t kWallClockStartNs = 1'600'000'000'000'000'000;
constexpr uint64_t kLongestStepNs = 1000;

Detached drive(Task<void> task, bool& done) {
  co_await task;
  done = true;
}

}  // namespace

class SimulatedRuntime::SimulatedLoop final : public Loop {
 public:
  SimulatedLoop(SimulatedRuntime& runtime, unsigned index)
      : Loop(runtime, index), runtime_(runtime) {}

  uint64_t now_ns() noexcept override { return runtime_.now_ns_; }
  uint64_t wall_clock_ns() noexcept override { return kWallClockStartNs + runtime_.now_ns_; }
  uint64_t random() noexcept override { return runtime_.values_.next(); }
  void post(Posted& work) noexcept override { ready_.push(work); }

  void submit(IoOperation& operation) noexcept override {
    assert(Loop::current_or_null() == this);
    switch (operation.kind) {
      case IoOperation::Kind::kTimer:
        timers_.add(operation);
        return;
      case IoOperation::Kind::kCancel:
        operation.result = timers_.remove(operation.target) ? 0 : -ENOENT;
        if (operation.result == 0) {
          operation.target->result = -ECANCELED;
          ready_.push(*operation.target);
        }
        ready_.push(operation);
        return;
      default:
        assert(false);  // files and sockets are not simulated: use a simulated disk
        operation.result = -ENOSYS;
        ready_.push(operation);
    }
  }

  bool ready() const noexcept { return !ready_.empty(); }
  uint64_t next_timer_ns() const noexcept {
    return timers_.empty() ? std::numeric_limits<uint64_t>::max() : timers_.next_ns();
  }
  void fire_timers() noexcept {
    while (IoOperation* timer = timers_.pop_due(runtime_.now_ns_)) {
      timer->result = 0;
      ready_.push(*timer);
    }
  }
  void run_one() noexcept {
    Entered entered(*this);
    Posted* work = ready_.pop();
    work->run(*work);
  }
  void start(Task<void> task, bool& done) {
    Entered entered(*this);
    drive(std::move(task), done);
  }

 private:
  SimulatedRuntime& runtime_;
  PostedQueue ready_;
  TimerHeap timers_;
};

SimulatedRuntime::SimulatedRuntime(uint64_t seed, unsigned loops)
    : seed_(seed), schedule_(seed), values_(~seed) {
  assert(loops >= 1 && loops <= kMaxLoops);
  for (unsigned index = 0; index < loops; ++index) {
    loops_.push_back(std::make_unique<SimulatedLoop>(*this, index));
  }
}

/// As other runtimes: what is ready and awaited by nobody, such as a cancellation, comes to its
/// end.
SimulatedRuntime::~SimulatedRuntime() {
  while (!stuck_ && step()) {
  }
}

unsigned SimulatedRuntime::loop_count() const noexcept {
  return static_cast<unsigned>(loops_.size());
}

Loop& SimulatedRuntime::loop(unsigned index) noexcept {
  assert(index < loops_.size());
  return *loops_[index];
}

void SimulatedRuntime::run(Task<void> task) {
  assert(Loop::current_or_null() == nullptr);
  const uint64_t last_step = steps_ + step_limit_;
  bool done = false;
  loops_[0]->start(std::move(task), done);
  while (!done) {
    if (!step() && !jump_to_next_timer()) stuck("deadlock: nothing is ready and no timer is set");
    if (steps_ > last_step) stuck("no end: the limit of steps is reached");
  }
}

bool SimulatedRuntime::step() {
  size_t choices = worker_functions_.size();
  for (auto& loop : loops_) {
    loop->fire_timers();
    choices += loop->ready() ? 1 : 0;
  }
  if (choices == 0) return false;
  ++steps_;
  now_ns_ += schedule_.between(1, kLongestStepNs);
  uint64_t pick = choices == 1 ? 0 : schedule_.below(choices);
  if (pick < worker_functions_.size()) {
    run_worker_function(pick);
    return true;
  }
  pick -= worker_functions_.size();
  for (auto& loop : loops_) {
    if (!loop->ready()) continue;
    if (pick-- == 0) {
      loop->run_one();
      break;
    }
  }
  return true;
}

void SimulatedRuntime::run_worker_function(uint64_t pick) {
  Posted* work = worker_functions_[pick];
  worker_functions_.erase(worker_functions_.begin() + static_cast<ptrdiff_t>(pick));
  work->run(*work);  // outside every loop, as on a thread of its own
}

bool SimulatedRuntime::jump_to_next_timer() {
  uint64_t next = std::numeric_limits<uint64_t>::max();
  for (const auto& loop : loops_) next = std::min(next, loop->next_timer_ns());
  if (next == std::numeric_limits<uint64_t>::max()) return false;
  now_ns_ = std::max(now_ns_, next);
  return true;
}

void SimulatedRuntime::stuck(const char* why) {
  stuck_ = true;
  throw SimulationStuck(fmt::format("simulation: {} (seed {:#x}, {} loops, step {}, {} ns)", why,
                                    seed_, loops_.size(), steps_, now_ns_));
}

void SimulatedRuntime::run_on_worker(Posted& work) noexcept { worker_functions_.push_back(&work); }

void SimulatedRuntime::attach_disk(const std::string& name, std::shared_ptr<SimulatedDisk> disk) {
  disks_[name] = std::move(disk);
}

std::shared_ptr<SimulatedDisk> SimulatedRuntime::find_disk(const std::string& name) const {
  const auto found = disks_.find(name);
  return found == disks_.end() ? nullptr : found->second;
}

}  // namespace ashlar
