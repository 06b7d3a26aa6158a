// The memory of a guest: which pieces of it are mapped here, and where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ashlar/error.h"
#include "async/owned_descriptor.h"
#include "async/shared_memory.h"
#include "exports/vhost_user_blk/protocol.h"

namespace ashlar::vhost {

/// Regions with two addresses each: the guest's own, in descriptors, and that of the frontend's
/// process, for rings. Regions do not overlap in either.
/// Changed only while no queue runs; read from any loop.
class GuestMemory {
 public:
  /// Most regions at a time.
  static constexpr size_t kMostRegions = 256;

  /// Errors: kInvalidArgument (reason "vhost-region": empty, wraps, overlaps; "memory-size"),
  /// kTooLarge ("vhost-regions"), as of mmap.
  Result<void> add(const Region& region, const OwnedDescriptor& file);
  /// Forgets the region with the same addresses and size. Errors: kNotFound ("vhost-region").
  Result<void> remove(const Region& region);

  size_t count() const noexcept { return regions_.size(); }
  /// The memory from `address` of the guest on, up to the end of its region and at most `most`
  /// bytes. Empty where nothing is mapped.
  std::span<std::byte> at_guest(uint64_t address, uint64_t most) const noexcept;
  /// `length` bytes at `address` of the frontend; empty unless all of them are in one region.
  std::span<std::byte> at_user(uint64_t address, uint64_t length) const noexcept;
  /// A file was cut under its region.
  bool broken() const noexcept;

 private:
  struct Mapped {
    Region region;
    SharedMemory memory;
  };
  std::vector<Mapped> regions_;  // by guest address
};

}  // namespace ashlar::vhost
