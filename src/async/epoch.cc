// Epochs: when a phase may end, and waiting for it.
#include "async/epoch.h"

#include <algorithm>

namespace ashlar {

void EpochDomain::try_advance() noexcept {
  uint64_t phase = phase_.load();
  for (const Slot& slot : slots_) {
    if (slot.inside[(phase + 1) & 1].load() != 0) return;  // from the phase before
  }
  phase_.compare_exchange_strong(phase, phase + 1);
}

uint64_t EpochDomain::inside() const noexcept {
  uint64_t sum = 0;
  for (const Slot& slot : slots_) sum += slot.inside[0].load() + slot.inside[1].load();
  return sum;
}

Task<void> EpochDomain::wait_for_phase(uint64_t target) {
  constexpr uint64_t kFirstPauseNs = 20'000;
  constexpr uint64_t kLongestPauseNs = 5'000'000;
  uint64_t pause_ns = 0;
  while (true) {
    uint64_t before = phase();
    try_advance();
    const uint64_t now = phase();
    if (now >= target) co_return;
    if (now != before) continue;
    if (pause_ns == 0) {
      co_await yield();  // on one loop, the old requests may just need their turn
      pause_ns = kFirstPauseNs;
    } else {
      co_await sleep_for(pause_ns);
      pause_ns = std::min(pause_ns * 2, kLongestPauseNs);
    }
  }
}

}  // namespace ashlar
