// A dirty bitmap in memory: which parts of a disk were written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/persistent_bitmap.h"

namespace ashlar {

/// No lock of its own: see WriteWatch.
struct TrackedBitmap {
  PersistentBitmap bitmap;
  enum class Life : uint8_t {
    kTransient,   ///< goes when the node is closed
    kPersistent,  ///< is saved in the image then
  } life = Life::kTransient;
  uint64_t disk_size = 0;
  std::vector<uint64_t> words;  ///< the bits; none where it is inconsistent

  using State = PersistentBitmap::State;
  /// Bytes of bits; more is not tracked.
  static constexpr uint64_t kMaxBytes = 256_MiB;
  static uint64_t bytes_for(uint64_t disk_size, uint64_t granularity);

  /// All clean. `disk_size` and granularity fit kMaxBytes.
  void start(uint64_t size);
  void load(std::span<const std::byte> bits);
  /// The bits in order of the disk, the least significant of a byte first, without padding.
  std::vector<std::byte> bits() const;

  bool recording() const { return bitmap.state == State::kEnabled; }
  /// A disk that turns out to be larger grows the bitmap; what cannot be noted any more makes it
  /// inconsistent.
  void mark(ByteRange range) noexcept;
  void clear();
  /// Marks what `other`, of a disk of the same size, has marked.
  void merge(const TrackedBitmap& other);
  /// New parts are clean.
  void resize(uint64_t size) noexcept;
  /// Bytes of the disk that are marked, the last part counted as whole.
  uint64_t dirty_bytes() const;

 private:
  void set_bits(uint64_t first, uint64_t end) noexcept;
  bool is_set(uint64_t bit) const { return (words[bit / 64] >> (bit % 64) & 1) != 0; }
};

}  // namespace ashlar
