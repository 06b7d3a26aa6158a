// Copies what a plan says from a source to a target, on all I/O loops at once.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "ashlar/driver.h"
#include "ashlar/loop.h"
#include "async/turns.h"
#include "tools/img/copy_offload.h"
#include "tools/img/copy_plan.h"
#include "tools/img/rate_limit.h"

namespace ashlar::tools {

/// How to copy.
struct CopySettings {
  unsigned workers = 8;      ///< pieces in flight, over all loops
  size_t zero_block = 4096;  ///< runs of zeroes shorter than that are data; 0: all is data
  enum class Store : uint8_t { kPlain, kCompressed } store = Store::kPlain;
  /// So that the target's layout depends on nothing but the source, writes follow each other in its
  /// order; where the target keeps to the order in which they start, they only start in it.
  enum class Order : uint8_t { kSource, kSourceStarts, kAny } order = Order::kSource;
  NodeInfo::Writers writers = NodeInfo::Writers::kMany;  ///< of the target
  enum class ReadErrors : uint8_t { kFail, kZeroes } read_errors = ReadErrors::kFail;
  uint64_t bytes_per_second = 0;  ///< 0: no limit
};

/// What went wrong first.
struct CopyFailure {
  enum class Step : uint8_t { kStatus, kRead, kWrite } step = Step::kRead;
  uint64_t offset = 0;
  Error error;
};

/// Told of sectors that could not be read; from any thread.
class SalvageReport {
 public:
  virtual ~SalvageReport() = default;
  virtual void unreadable(uint64_t offset, const Error& error) = 0;
};

/// One copy. Everything given must outlive it.
class CopyEngine {
 public:
  struct Ends {
    CopySource& source;
    Backend& target;
  };
  CopyEngine(Ends ends, CopyPlan& plan, const CopySettings& settings);

  /// Copies in the kernel where both sides allow it.
  void offload_to(CopyOffload& offload) { offload_ = &offload; }
  void report_to(SalvageReport& report) { salvage_ = &report; }

  /// From the control loop. Copies until all is done or something fails.
  Task<void> run();

  /// After run().
  const std::optional<CopyFailure>& failure() const { return failure_; }

 private:
  Task<void> run_on(Loop& loop, unsigned workers);
  Task<void> run_here(unsigned workers);
  Task<void> work();
  Task<void> copy(const CopyPiece& piece, std::span<std::byte> buffer);
  Task<void> in_turn(uint64_t turn, Task<void> step);
  Task<void> alone(uint64_t turn, Task<void> step);
  Task<bool> read(ByteRange range, std::span<std::byte> into);
  Task<void> read_sectors(ByteRange range, std::span<std::byte> into);
  Task<void> write(ByteRange range, std::span<const std::byte> bytes);
  Task<void> write_run(ByteRange range, ConstBuffers from);
  Task<void> zero_run(ByteRange range);
  void fail_at(CopyFailure::Step step, uint64_t offset, const Error& error);

  CopySource& source_;
  Backend& target_;
  CopyPlan& plan_;
  const CopySettings settings_;
  CopyOffload* offload_ = nullptr;
  SalvageReport* salvage_ = nullptr;
  RateLimit rate_;
  Turns turns_;
  std::mutex failure_lock_;
  std::optional<CopyFailure> failure_;
};

}  // namespace ashlar::tools
