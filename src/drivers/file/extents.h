// Where a file has data and where it has holes, without asking the kernel for every block.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "ashlar/bytes.h"

namespace ashlar::file {

/// A stretch of a file that is all data or all hole. May reach past the end of the file.
struct FileExtent {
  uint64_t begin = 0;
  uint64_t end = 0;
  bool data = true;
};

/// Asks the kernel. What it cannot tell counts as data.
FileExtent find_extent(int fd, uint64_t offset) noexcept;

/// How often a file was changed through one loop. Each loop counts for itself, so that writers do
/// not share a cache line; who wants to know adds them up.
struct ChangeCounts {
  std::atomic<uint64_t> writes{0};    ///< holes may have become data
  std::atomic<uint64_t> removals{0};  ///< data may have become holes

  void add_write() noexcept { add(writes); }
  void add_removal() noexcept { add(removals); }

 private:
  // Only one thread writes.
  static void add(std::atomic<uint64_t>& count) noexcept {
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
};

/// The last extent that one loop found, for as long as it is right.
class ExtentMemory {
 public:
  /// Sums over all loops, read before the kernel is asked.
  struct Seen {
    uint64_t writes = 0;
    uint64_t removals = 0;
  };

  /// Data stays data until something is removed; to call a former hole data would be harmless, the
  /// other way round is not. `exclusive`: no other process writes, so a hole stays one until we
  /// write.
  std::optional<FileExtent> recall(uint64_t offset, Seen now, bool exclusive) const noexcept {
    if (offset < extent_.begin || offset >= extent_.end) return std::nullopt;
    if (seen_.removals != now.removals) return std::nullopt;
    if (!extent_.data && (!exclusive || seen_.writes != now.writes)) return std::nullopt;
    return extent_;
  }
  void remember(FileExtent extent, Seen seen) noexcept {
    extent_ = extent;
    seen_ = seen;
  }

 private:
  FileExtent extent_{0, 0, true};
  Seen seen_;
};

}  // namespace ashlar::file
