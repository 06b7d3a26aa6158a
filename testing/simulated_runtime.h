// A runtime whose loops all run on the calling thread, in an order that a seed decides and replays.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "ashlar/loop.h"
#include "async/posted_queue.h"
#include "testing/seeded_random.h"
#include "testing/simulated_disk.h"

namespace ashlar {

/// A simulation that cannot go on, or does not end. what() names the seed.
class SimulationStuck : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// For tests of concurrency: each step runs one piece of ready work of a loop picked at random
/// (work of one loop stays in order), or one function given to a worker. The clock is virtual: it
/// creeps with every step and jumps to the next timer when nothing is ready.
///
/// Of the operations only timers and their cancellation work here; files are simulated disks.
/// Everything, posts included, happens on one thread.
class SimulatedRuntime : public Runtime {
 public:
  explicit SimulatedRuntime(uint64_t seed, unsigned loops = 1);
  ~SimulatedRuntime() override;

  unsigned loop_count() const noexcept override;
  Loop& loop(unsigned index) noexcept override;
  /// Throws SimulationStuck when nothing is ready and the task has not finished, and after
  /// step_limit steps. What was running then is left as it is.
  void run(Task<void> task) override;
  void run_on_worker(Posted& work) noexcept override;
  unsigned worker_count() const noexcept override { return 2; }

  uint64_t seed() const noexcept { return seed_; }
  uint64_t now_ns() const noexcept { return now_ns_; }
  /// Pieces of work that have run.
  uint64_t steps() const noexcept { return steps_; }
  /// Most steps of one run().
  void set_step_limit(uint64_t limit) noexcept { step_limit_ = limit; }

  /// Makes `disk` what the driver "simulated-disk" opens under `name`.
  void attach_disk(const std::string& name, std::shared_ptr<SimulatedDisk> disk);
  /// The disk of that name, or null.
  std::shared_ptr<SimulatedDisk> find_disk(const std::string& name) const;

 private:
  class SimulatedLoop;
  bool step();
  bool jump_to_next_timer();
  void run_worker_function(uint64_t pick);
  [[noreturn]] void stuck(const char* why);

  const uint64_t seed_;
  SeededRandom schedule_;
  SeededRandom values_;
  uint64_t now_ns_ = 1'000'000'000;
  uint64_t steps_ = 0;
  bool stuck_ = false;
  uint64_t step_limit_ = 200'000'000;
  std::vector<std::unique_ptr<SimulatedLoop>> loops_;
  std::vector<Posted*> worker_functions_;
  std::map<std::string, std::shared_ptr<SimulatedDisk>> disks_;
};

}  // namespace ashlar
