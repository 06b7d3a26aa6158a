// Where ranges of a backing chain live, as resolved before: makes a read through a hundred layers
// cost what a read through one does. A fixed, lazily allocated table; readers take no lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "ashlar/bytes.h"

namespace ashlar {

class GraphNode;

/// One resolved extent: where [start, start + length) of the chain is.
struct ResolvedExtent {
  uint64_t start = 0;
  uint64_t length = 0;
  GraphNode* storage = nullptr;  ///< null: reads as zeroes
  uint64_t offset = 0;           ///< in `storage`, of `start`
};

/// Direct-mapped by 64 KiB block. Entries carry the generation they were resolved in; any change
/// to a layer below bumps it, so that all older entries are misses.
class ExtentIndex {
 public:
  static constexpr uint64_t kBlock = 64_KiB;
  static constexpr size_t kSlots = 8192;

  /// The extent that covers `offset`, if it is known. Wait-free.
  std::optional<ResolvedExtent> find(uint64_t offset) const noexcept;
  /// To be read before an extent is resolved that will be noted.
  uint32_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }
  /// Notes an extent for the block of `offset`, unless invalidate() came after `generation`. May be
  /// lost to a concurrent note.
  void note(uint64_t offset, const ResolvedExtent& extent, uint32_t generation) noexcept;
  /// Forgets everything. Callers have drained the requests that use it, or the change is such that
  /// old answers stay right for requests in flight.
  void invalidate() noexcept { generation_.fetch_add(1, std::memory_order_acq_rel); }

 private:
  struct Slot {
    std::atomic<uint32_t> sequence{0};  // odd while being written
    std::atomic<uint32_t> generation{0};
    std::atomic<uint64_t> start{0}, length{0}, offset{0};
    std::atomic<GraphNode*> storage{nullptr};
  };
  Slot* slot_to_write(uint64_t offset) noexcept;
  std::atomic<uint32_t> generation_{1};
  std::atomic<std::array<Slot, kSlots>*> slots_{nullptr};

 public:
  ExtentIndex() = default;
  ~ExtentIndex();
  ExtentIndex(const ExtentIndex&) = delete;
};

}  // namespace ashlar
