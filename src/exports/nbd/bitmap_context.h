// A dirty bitmap as clients see it: the bits as they were when the export started.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "backend/bitmaps.h"
#include "protocols/nbd_transmission.h"

namespace ashlar::nbd {

/// From any loop.
class BitmapContext {
 public:
  explicit BitmapContext(LoadedBitmap loaded) : loaded_(std::move(loaded)) {}

  const std::string& name() const noexcept { return loaded_.bitmap.name; }
  /// The medium that the bits are about has gone.
  void set_stale() noexcept { stale_.store(true); }
  bool stale() const noexcept { return stale_.load(); }

  /// How far the start of `range`, which is not empty, is of one state, and which.
  Descriptor describe(ByteRange range) const noexcept {
    const uint64_t granularity = loaded_.bitmap.granularity;
    const uint64_t first = range.offset / granularity;
    const uint64_t end = (range.end() - 1) / granularity + 1;
    const bool dirty = is_set(first);
    uint64_t bit = first + 1;
    while (bit < end && is_set(bit) == dirty) bit += equal_bits(bit, dirty);
    bit = std::min(bit, end);
    Descriptor described;
    described.length = bit == end ? range.length : bit * granularity - range.offset;
    described.flags = dirty ? kStateDirty : 0;
    return described;
  }

 private:
  bool is_set(uint64_t bit) const noexcept {
    const uint64_t byte = bit / 8;
    if (byte >= loaded_.bits.size()) return false;
    return (std::to_integer<unsigned>(loaded_.bits[byte]) >> (bit % 8) & 1) != 0;
  }

  /// From `bit` on, which is `dirty`: how many bits are so for sure. Whole words where it can be,
  /// as a client may ask for a very large disk that is all the same.
  uint64_t equal_bits(uint64_t bit, bool dirty) const noexcept {
    constexpr uint64_t kBytes = sizeof(uint64_t);
    const uint64_t byte = bit / 8;
    if (bit % 8 != 0 || byte + kBytes > loaded_.bits.size()) return 1;
    uint64_t word = 0;
    std::memcpy(&word, loaded_.bits.data() + byte, kBytes);
    return word == (dirty ? ~uint64_t{0} : 0) ? kBytes * 8 : 1;
  }

  const LoadedBitmap loaded_;
  std::atomic<bool> stale_{false};
};

}  // namespace ashlar::nbd
