// The runtime of real programs: its loops, their threads, the worker pools.
#include <algorithm>
#include <memory>
#include <vector>

#include "ashlar/loop.h"
#include "async/event_loop.h"
#include "async/worker_pool.h"

namespace ashlar {
namespace {

constexpr unsigned kMostBlockingCalls = 32;  // threads that sit in file calls, without io_uring

class SystemRuntime final : public Runtime {
 public:
  explicit SystemRuntime(const RuntimeOptions& options)
      : workers_(options.workers), blocking_calls_(kMostBlockingCalls) {
    const unsigned count = std::min(options.io_loops, kMaxLoops - 1) + 1;
    const EventLoop::Setup setup = {.files = options.files, .blocking_calls = &blocking_calls_};
    for (unsigned index = 0; index < count; ++index) {
      loops_.push_back(std::make_unique<EventLoop>(*this, index, setup));
      if (index != 0) loops_.back()->start_on_demand();
    }
  }

  ~SystemRuntime() override {
    // Workers first: what they finish is posted to loops that still run. The control loop last:
    // the others bring results to it.
    workers_.finish();
    for (int round = 0; round < 2; ++round) {
      for (size_t index = 1; index < loops_.size(); ++index) loops_[index]->stop();
    }
    loops_[0]->drain();
    blocking_calls_.finish();
  }

  unsigned loop_count() const noexcept override { return static_cast<unsigned>(loops_.size()); }
  Loop& loop(unsigned index) noexcept override {
    assert(index < loops_.size());
    return *loops_[index];
  }
  void run(Task<void> task) override { loops_[0]->run(std::move(task)); }
  void run_on_worker(Posted& work) noexcept override { workers_.run(work); }
  unsigned worker_count() const noexcept override { return workers_.most(); }

 private:
  WorkerPool workers_;
  WorkerPool blocking_calls_;
  std::vector<std::unique_ptr<EventLoop>> loops_;
};

}  // namespace

std::unique_ptr<Runtime> Runtime::create(const RuntimeOptions& options) {
  return std::make_unique<SystemRuntime>(options);
}

}  // namespace ashlar
