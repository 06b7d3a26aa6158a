// A chain of descriptors as memory segments: everything a guest says about them is checked here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "exports/vhost_user_blk/guest_memory.h"
#include "exports/vhost_user_blk/split_ring.h"

namespace ashlar::vhost {

/// The buffers of one request: what the device reads, then what it writes. Kept and used again, so
/// that no request allocates.
class DescriptorChain {
 public:
  /// A device's limit, told to the driver (without the header and the status).
  static constexpr size_t kMostDataSegments = 126;
  /// Descriptors of a chain. Drivers go up to this whatever the size of their queue.
  static constexpr size_t kMostDescriptors = SplitRing::kMostEntries;

  /// Whether descriptors may name a table of further ones.
  enum class Indirect : uint8_t { kRefused, kAllowed };

  DescriptorChain() { segments_.reserve(kMostDataSegments + 2); }

  /// Reads the chain that starts at `head`. Errors, after which the queue is of no use:
  /// kInvalidArgument, reason "vhost-chain".
  Result<void> read(const SplitRing& ring, const GuestMemory& memory, uint16_t head,
                    Indirect indirect);

  uint64_t readable_size() const noexcept { return readable_size_; }
  uint64_t writable_size() const noexcept { return writable_size_; }
  /// Views of the segments; valid until the next read().
  ConstBuffers readable() const noexcept {
    return MutableBuffers(std::span<const Segment>(segments_).first(readable_count_));
  }
  MutableBuffers writable() const noexcept {
    return MutableBuffers(std::span<const Segment>(segments_).subspan(readable_count_));
  }

 private:
  using Segment = std::span<std::byte>;
  struct Walk;
  Result<void> add(const Descriptor& descriptor, const GuestMemory& memory);

  std::vector<Segment> segments_;
  size_t readable_count_ = 0;
  uint64_t readable_size_ = 0;
  uint64_t writable_size_ = 0;
};

}  // namespace ashlar::vhost
