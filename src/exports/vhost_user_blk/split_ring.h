// A split virtqueue as the device sees it (virtio 1.2, section 2.7): three tables in memory that
// the guest may change at any time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ashlar/error.h"
#include "exports/vhost_user_blk/guest_memory.h"
#include "exports/vhost_user_blk/protocol.h"

namespace ashlar::vhost {

/// One entry of a descriptor table, read once: the guest's copy may be another one by now.
struct Descriptor {
  static constexpr size_t kSize = 16;
  static constexpr uint16_t kNext = 1;
  static constexpr uint16_t kWrite = 2;
  static constexpr uint16_t kIndirect = 4;

  uint64_t address = 0;
  uint32_t length = 0;
  uint16_t flags = 0;
  uint16_t next = 0;

  bool has_next() const { return (flags & kNext) != 0; }
  bool writable() const { return (flags & kWrite) != 0; }
  bool indirect() const { return (flags & kIndirect) != 0; }
  /// `from` has kSize bytes, at any address.
  static Descriptor load(std::span<const std::byte> from) noexcept;
};

/// The tables of one queue. A view: valid while the memory is mapped. Used from one loop.
class SplitRing {
 public:
  static constexpr uint32_t kMostEntries = 1024;
  /// Whether both sides say how far the other may go on without a word.
  enum class Events : uint8_t { kFlags, kIndex };

  SplitRing() = default;
  /// Errors: kInvalidArgument, reasons "vhost-ring-size" (no power of two up to kMostEntries) and
  /// "vhost-ring-address" (not mapped, not aligned).
  static Result<SplitRing> open(const GuestMemory& memory, const RingAddresses& addresses,
                                uint32_t size, Events events);

  uint16_t size() const noexcept { return size_; }

  /// How many entries the driver has made available ever, modulo 2^16. What it has written
  /// before is seen after this.
  uint16_t available_index() const noexcept;
  /// The head of the chain at a position below available_index().
  uint16_t head_at(uint16_t position) const noexcept;
  Descriptor descriptor(uint16_t index) const noexcept;

  /// Asks the driver for a kick when it goes beyond `position`. True when it has done so already.
  bool ask_for_kick(uint16_t position) noexcept;
  /// No kicks are wanted for now; it may kick all the same.
  void refuse_kicks() noexcept;

  uint16_t used_index() const noexcept;
  void store_used(uint16_t position, uint16_t head, uint32_t length) noexcept;
  /// Shows the entries before `index`, with all that was written for them.
  void publish_used(uint16_t index) noexcept;
  /// Whether the driver wants to be called after `before` moved to `now`. After publish_used().
  bool wants_call(uint16_t before, uint16_t now) const noexcept;

 private:
  std::span<std::byte> descriptors_;
  std::span<std::byte> available_;
  std::span<std::byte> used_;
  uint16_t size_ = 0;
  Events events_ = Events::kFlags;
};

}  // namespace ashlar::vhost
