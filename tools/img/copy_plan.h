// What a copy has to do where: cuts the source into pieces, in order, for many workers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

#include "async/sync.h"
#include "tools/img/copy_source.h"

namespace ashlar::tools {

/// A part of the source that one worker copies at once.
struct CopyPiece {
  enum class Kind : uint8_t { kData, kZero } kind = Kind::kData;
  ByteRange range;
  uint64_t turn = 0;  ///< pieces in order: 0, 1, 2 ...
};

/// How pieces are cut.
struct CopyRules {
  uint64_t unit = 4096;       ///< pieces begin at multiples of it; power of two
  uint64_t piece = 256_KiB;   ///< the most that is data; a multiple of `unit`
  unsigned layers = 0;        ///< of the source's chain that are copied; 0: all
  uint64_t backing_size = 0;  ///< of the target's backing image, below the other layers
  enum class Holes : uint8_t {
    kCopied,   ///< zeroes are written as data
    kZeroed,   ///< the target has to be told of zeroes
    kSkipped,  ///< the target reads as zeroes already
  } holes = Holes::kZeroed;
  /// What a last piece shorter than `unit` is, if some of it is in no layer that is copied.
  enum class End : uint8_t { kByStatus, kCopied } end = End::kByStatus;
};

/// Walks the source once. Workers of any loop take pieces from it.
class CopyPlan {
 public:
  CopyPlan(CopySource& source, const CopyRules& rules) : source_(source), rules_(rules) {}

  /// The next piece; empty when there is none, the source's status is unknown, or stop() was
  /// called.
  Task<std::optional<CopyPiece>> next();

  const CopyRules& rules() const { return rules_; }

  /// Called with each new position, never twice at once.
  void on_progress(std::function<void(uint64_t position)> report) { report_ = std::move(report); }

  /// Lets no worker take another piece.
  void stop() { stopped_.store(true, std::memory_order_relaxed); }
  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

  /// Why the walk ended early, and where; after all workers have ended.
  const std::optional<Error>& error() const { return error_; }
  uint64_t position() const { return position_; }

 private:
  enum class Kind : uint8_t { kData, kZero, kBelow };
  struct Run {
    Kind kind = Kind::kData;
    uint64_t length = 0;
  };

  Task<Result<std::optional<CopyPiece>>> cut();
  /// Makes run_ cover `needed` bytes, or mixed contents of them data.
  Task<Result<void>> fill(uint64_t needed);
  Task<Result<Run>> look(uint64_t offset);
  Kind kind_of(const Extent& extent, uint64_t offset) const;
  /// Whether the target has what a run says, without being told.
  bool can_skip(Kind kind) const;

  CopySource& source_;
  const CopyRules rules_;
  std::function<void(uint64_t)> report_;
  std::atomic<bool> stopped_{false};

  Mutex lock_;  // what follows
  uint64_t position_ = 0;
  uint64_t turn_ = 0;
  Run run_;    // from position_
  Run ahead_;  // behind run_, of another kind
  std::optional<Error> error_;
};

}  // namespace ashlar::tools
