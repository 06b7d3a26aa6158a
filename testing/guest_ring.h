// The driver's side of a split virtqueue, for tests of devices: proper use, and raw access for
// improper use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "exports/vhost_user_blk/split_ring.h"

namespace ashlar::vhost {

/// Memory of a simulated guest: addresses count from 0.
class GuestRing {
 public:
  struct Setup {
    std::span<std::byte> memory;  ///< all of the guest's
    uint64_t base = 0;            ///< where the ring's tables are; needs size_for() bytes
    uint16_t size = 0;
    SplitRing::Events events = SplitRing::Events::kIndex;
  };
  explicit GuestRing(const Setup& setup);

  static uint64_t size_for(uint16_t size) { return 64 * uint64_t{size} + 4096; }
  uint64_t descriptors_at() const { return setup_.base; }
  uint64_t available_at() const { return setup_.base + 16 * uint64_t{setup_.size}; }
  uint64_t used_at() const { return available_at() + align_up(8 + 2 * uint64_t{setup_.size}, 64); }

  struct Buffer {
    uint64_t address = 0;
    uint32_t length = 0;
    bool writable = false;
  };
  /// Puts a chain into the table and makes it available (as a table of its own in `table_at`, when
  /// that is given). Empty when there are not enough free descriptors.
  std::optional<uint16_t> offer(std::span<const Buffer> buffers,
                                std::optional<uint64_t> table_at = std::nullopt);
  /// Whether the device wants to be kicked for what was offered since last asked.
  bool device_wants_kick();

  struct Used {
    uint16_t head = 0;
    uint32_t length = 0;
  };
  /// The next answer; its descriptors are free again.
  std::optional<Used> take_used();
  /// Asks to be called at the next answer. False when there is one already.
  bool ask_for_call();

  // Raw access.
  void set_descriptor(uint16_t index, const Descriptor& descriptor);
  static void store_descriptor(std::span<std::byte> to, const Descriptor& descriptor);
  void set_head(uint16_t position, uint16_t head);
  void set_available_index(uint16_t index);
  uint16_t available_index() const { return available_; }
  uint16_t used_index() const;
  size_t in_flight() const { return chains_.size() - free_chains(); }

 private:
  std::span<std::byte> at(uint64_t offset, size_t length) const {
    return setup_.memory.subspan(offset, length);
  }
  size_t free_chains() const;

  Setup setup_;
  std::deque<uint16_t> free_;
  std::vector<std::vector<uint16_t>> chains_;  // by head: its descriptors
  uint16_t available_ = 0;
  uint16_t kicked_ = 0;
  uint16_t taken_ = 0;
};

}  // namespace ashlar::vhost
