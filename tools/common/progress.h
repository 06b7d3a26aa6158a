// Progress of a long command: on request (-p) all the time, else once per SIGUSR1.
#pragma once

#include <atomic>
#include <cstdint>

#include "tools/common/program.h"
#include "tools/common/signals.h"

namespace ashlar::tools {

/// Prints `    (12.34/100%)` lines. Owns the signal watcher of its command: construct it before
/// anything that starts threads.
class Progress {
 public:
  enum class Mode : uint8_t {
    kOnSignal,  ///< a line on stderr per SIGUSR1
    kShown,     ///< on stdout, as it grows
    kNever,     ///< quiet
  };
  Progress(Program& program, Mode mode);
  /// Ends the shown line; say finish() first when all is done.
  ~Progress();

  /// `done` of `total` is done. Callable often: prints when at least a percent was added.
  void update(uint64_t done, uint64_t total);
  /// All is done.
  void finish();

  const SignalWatcher& signals() const { return signals_; }

 private:
  void show(double percent);

  Program& program_;
  Mode mode_;
  std::atomic<double> percent_{0};
  double shown_ = -1;
  SignalWatcher signals_;
};

}  // namespace ashlar::tools
