// The tables of a split virtqueue. All numbers are little-endian; those that both sides use at the
// same time are loaded and stored whole.
#include "exports/vhost_user_blk/split_ring.h"

#include <fmt/format.h>

#include <atomic>
#include <bit>

#include "base/checked.h"
#include "base/endian.h"

namespace ashlar::vhost {
namespace {

// Of the available and the used ring alike: flags, index, entries, event.
constexpr size_t kIndexOffset = 2;
constexpr size_t kEntriesOffset = 4;
constexpr size_t kAvailableEntry = 2;
constexpr size_t kUsedEntry = 8;
constexpr size_t kEventSize = 2;

constexpr uint16_t kNoKick = 1;  // flags of the used ring
constexpr uint16_t kNoCall = 1;  // flags of the available ring

constexpr uint16_t little(uint16_t value) {
  return std::endian::native == std::endian::little ? value : std::byteswap(value);
}

/// A number that the other side may load or store at the same time. Rings are aligned to it.
std::atomic_ref<uint16_t> shared(std::span<std::byte> ring, size_t offset) noexcept {
  return std::atomic_ref(*reinterpret_cast<uint16_t*>(ring.subspan(offset, 2).data()));
}

uint16_t load(std::span<std::byte> ring, size_t offset) noexcept {
  return little(shared(ring, offset).load(std::memory_order_relaxed));
}

void store(std::span<std::byte> ring, size_t offset, uint16_t value) noexcept {
  shared(ring, offset).store(little(value), std::memory_order_relaxed);
}

bool is_aligned_to(std::span<const std::byte> bytes, size_t alignment) {
  return reinterpret_cast<uintptr_t>(bytes.data()) % alignment == 0;
}

}  // namespace

Descriptor Descriptor::load(std::span<const std::byte> from) noexcept {
  std::array<std::byte, kSize> copy;
  std::memcpy(copy.data(), from.data(), kSize);
  // What is looked at below is this copy: the compiler may not go back to the guest's bytes.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  Descriptor descriptor;
  descriptor.address = load_le<uint64_t>(copy.data());
  descriptor.length = load_le<uint32_t>(copy.data() + 8);
  descriptor.flags = load_le<uint16_t>(copy.data() + 12);
  descriptor.next = load_le<uint16_t>(copy.data() + 14);
  return descriptor;
}

Result<SplitRing> SplitRing::open(const GuestMemory& memory, const RingAddresses& addresses,
                                  uint32_t size, Events events) {
  if (!is_power_of_two(size) || size > kMostEntries) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("a ring has a power of two of entries up to {}, not {}",
                                  kMostEntries, size))
                    .because("vhost-ring-size"));
  }
  const size_t event = events == Events::kIndex ? kEventSize : 0;
  SplitRing ring;
  ring.size_ = static_cast<uint16_t>(size);
  ring.events_ = events;
  ring.descriptors_ = memory.at_user(addresses.descriptors, size * Descriptor::kSize);
  ring.available_ =
      memory.at_user(addresses.available, kEntriesOffset + size * kAvailableEntry + event);
  ring.used_ = memory.at_user(addresses.used, kEntriesOffset + size * kUsedEntry + event);
  const bool mapped = !ring.descriptors_.empty() && !ring.available_.empty() && !ring.used_.empty();
  if (mapped && is_aligned_to(ring.descriptors_, Descriptor::kSize) &&
      is_aligned_to(ring.available_, 2) && is_aligned_to(ring.used_, 4)) {
    return ring;
  }
  return fail(Error(ErrorCode::kInvalidArgument,
                    fmt::format("a ring of {} entries at {:#x}, {:#x} and {:#x} is {}", size,
                                addresses.descriptors, addresses.available, addresses.used,
                                mapped ? "not aligned" : "not in the guest's memory"))
                  .because("vhost-ring-address"));
}

uint16_t SplitRing::available_index() const noexcept {
  return little(shared(available_, kIndexOffset).load(std::memory_order_acquire));
}

uint16_t SplitRing::head_at(uint16_t position) const noexcept {
  return load(available_, kEntriesOffset + (position & (size_ - 1u)) * kAvailableEntry);
}

Descriptor SplitRing::descriptor(uint16_t index) const noexcept {
  return Descriptor::load(descriptors_.subspan(index * Descriptor::kSize, Descriptor::kSize));
}

bool SplitRing::ask_for_kick(uint16_t position) noexcept {
  if (events_ == Events::kIndex) {
    store(used_, kEntriesOffset + size_ * kUsedEntry, position);
  } else {
    store(used_, 0, 0);
  }
  // The driver writes its index and then looks at this; we write this and then look at its index.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return available_index() != position;
}

void SplitRing::refuse_kicks() noexcept {
  // With indexes nothing is to do: the one that was asked for is behind.
  if (events_ == Events::kFlags) store(used_, 0, kNoKick);
}

uint16_t SplitRing::used_index() const noexcept { return load(used_, kIndexOffset); }

void SplitRing::store_used(uint16_t position, uint16_t head, uint32_t length) noexcept {
  std::byte* entry =
      used_.subspan(kEntriesOffset + (position & (size_ - 1u)) * kUsedEntry, kUsedEntry).data();
  store_le<uint32_t>(entry, head);
  store_le<uint32_t>(entry + 4, length);
}

void SplitRing::publish_used(uint16_t index) noexcept {
  shared(used_, kIndexOffset).store(little(index), std::memory_order_release);
}

bool SplitRing::wants_call(uint16_t before, uint16_t now) const noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (events_ == Events::kFlags) return (load(available_, 0) & kNoCall) == 0;
  // The driver wants to hear of the entry at `event`: was that among the new ones?
  const uint16_t event = load(available_, kEntriesOffset + size_ * kAvailableEntry);
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

}  // namespace ashlar::vhost
