// The refcounts that an image stores: read, and changed in place by repair.
// Specification: docs/interop/qcow2.rst, "Host cluster management".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/refcount_bits.h"

namespace ashlar {
class Child;
}  // namespace ashlar

namespace ashlar::qcow2 {

/// An entry of the refcount table.
struct RefcountTableEntry {
  uint64_t raw = 0;
  constexpr uint64_t offset() const { return raw & ~uint64_t{0x1ff}; }
  constexpr bool has_reserved_bits() const { return raw & 0x1ff; }
};

/// Refcounts of a quiet image, with a small cache of blocks. One user at a time.
class StoredRefcounts {
 public:
  /// `header` and `file` must outlive this.
  StoredRefcounts(Child& file, const Header& header);

  /// Reads the table. Again after the header points to another one.
  Task<Result<void>> load();
  std::span<const RefcountTableEntry> table() const { return table_; }

  /// What is known about a block of refcounts.
  struct Block {
    enum class State : uint8_t {
      kAbsent,    ///< all refcounts are 0
      kStored,    ///< `bytes` hold them
      kUnusable,  ///< its offset is not that of a cluster
    };
    State state = State::kAbsent;
    std::span<const std::byte> bytes;
  };
  /// The block with the refcounts from `index` * refcounts_per_block() on, valid until the next
  /// call of any member.
  Task<Result<Block>> block(uint64_t index);
  /// block() if that needs no reading.
  std::optional<Block> resident_block(uint64_t index) const;

  /// The refcount of one cluster; empty when its block is unusable.
  Task<Result<std::optional<uint64_t>>> get(uint64_t cluster);
  /// Changes a refcount, whose block must be stored. Written by write_back(), or when the cache
  /// needs the room.
  Task<Result<void>> set(uint64_t cluster, uint64_t value);
  Task<Result<void>> write_back();

 private:
  struct Slot {
    std::optional<uint64_t> index;
    std::vector<std::byte> bytes;
    bool dirty = false;
  };
  Slot& slot_of(uint64_t index) { return slots_[index % slots_.size()]; }
  Task<Result<void>> write_slot(Slot& slot);
  std::optional<Block> without_slot(uint64_t index) const;

  Child& file_;
  const Header& header_;
  std::vector<RefcountTableEntry> table_;  // without what is 0 at its end
  std::vector<Slot> slots_;
};

}  // namespace ashlar::qcow2
