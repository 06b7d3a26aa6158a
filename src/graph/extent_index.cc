// The table of resolved extents: sequence-locked slots, read without waiting.
#include "graph/extent_index.h"

namespace ashlar {

ExtentIndex::~ExtentIndex() { delete slots_.load(); }

std::optional<ResolvedExtent> ExtentIndex::find(uint64_t offset) const noexcept {
  const std::array<Slot, kSlots>* slots = slots_.load(std::memory_order_acquire);
  if (slots == nullptr) return std::nullopt;
  const Slot& slot = (*slots)[(offset / kBlock) % kSlots];
  const uint32_t before = slot.sequence.load(std::memory_order_acquire);
  if ((before & 1) != 0) return std::nullopt;  // being written: as good as absent
  // Acquiring, so that the second look at the sequence stays behind them.
  ResolvedExtent extent;
  const uint32_t generation = slot.generation.load(std::memory_order_acquire);
  extent.start = slot.start.load(std::memory_order_acquire);
  extent.length = slot.length.load(std::memory_order_acquire);
  extent.offset = slot.offset.load(std::memory_order_acquire);
  extent.storage = slot.storage.load(std::memory_order_acquire);
  if (slot.sequence.load(std::memory_order_relaxed) != before) return std::nullopt;
  if (generation != generation_.load(std::memory_order_acquire)) return std::nullopt;
  if (offset < extent.start || offset - extent.start >= extent.length) return std::nullopt;
  return extent;
}

ExtentIndex::Slot* ExtentIndex::slot_to_write(uint64_t offset) noexcept {
  std::array<Slot, kSlots>* slots = slots_.load(std::memory_order_acquire);
  if (slots == nullptr) {
    auto fresh = std::make_unique<std::array<Slot, kSlots>>();
    if (slots_.compare_exchange_strong(slots, fresh.get(), std::memory_order_acq_rel)) {
      slots = fresh.release();
    }
  }
  return &(*slots)[(offset / kBlock) % kSlots];
}

void ExtentIndex::note(uint64_t offset, const ResolvedExtent& extent,
                       uint32_t generation) noexcept {
  if (generation != generation_.load(std::memory_order_acquire)) return;
  Slot& slot = *slot_to_write(offset);
  uint32_t sequence = slot.sequence.load(std::memory_order_relaxed);
  if ((sequence & 1) != 0) return;
  if (!slot.sequence.compare_exchange_strong(sequence, sequence + 1, std::memory_order_acquire)) {
    return;
  }
  // The generation it was resolved in goes with it: what was invalidated meanwhile never matches.
  // Releasing, so that the odd sequence is seen before any of them.
  slot.generation.store(generation, std::memory_order_release);
  slot.start.store(extent.start, std::memory_order_release);
  slot.length.store(extent.length, std::memory_order_release);
  slot.offset.store(extent.offset, std::memory_order_release);
  slot.storage.store(extent.storage, std::memory_order_release);
  slot.sequence.store(sequence + 2, std::memory_order_release);
}

}  // namespace ashlar
