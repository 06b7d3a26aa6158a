// Marking, merging and counting bits.
#include "graph/tracked_bitmap.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <new>

#include "base/checked.h"

namespace ashlar {
namespace {

constexpr uint64_t kWordBits = 64;

uint64_t words_for(uint64_t disk_size, uint64_t granularity) {
  return divide_up(divide_up(disk_size, granularity), kWordBits);
}

}  // namespace

uint64_t TrackedBitmap::bytes_for(uint64_t disk_size, uint64_t granularity) {
  return words_for(disk_size, granularity) * sizeof(uint64_t);
}

void TrackedBitmap::start(uint64_t size) {
  assert(bytes_for(size, bitmap.granularity) <= kMaxBytes);
  disk_size = size;
  words.assign(words_for(size, bitmap.granularity), 0);
}

void TrackedBitmap::load(std::span<const std::byte> bits) {
  std::ranges::fill(words, 0);
  const size_t count = std::min(bits.size(), words.size() * sizeof(uint64_t));
  for (size_t at = 0; at < count; ++at) {
    words[at / 8] |= std::to_integer<uint64_t>(bits[at]) << (at % 8 * 8);
  }
}

std::vector<std::byte> TrackedBitmap::bits() const {
  std::vector<std::byte> bytes(divide_up(divide_up(disk_size, bitmap.granularity), uint64_t{8}));
  for (size_t at = 0; at < bytes.size(); ++at) {
    bytes[at] = static_cast<std::byte>(words[at / 8] >> (at % 8 * 8));
  }
  return bytes;
}

void TrackedBitmap::set_bits(uint64_t first, uint64_t end) noexcept {
  while (first < end) {
    const uint64_t shift = first % kWordBits;
    const uint64_t count = std::min(kWordBits - shift, end - first);
    const uint64_t mask = count == kWordBits ? ~uint64_t{0} : ((uint64_t{1} << count) - 1) << shift;
    words[first / kWordBits] |= mask;
    first += count;
  }
}

void TrackedBitmap::mark(ByteRange range) noexcept {
  if (range.empty() || bitmap.state == State::kInconsistent) return;
  if (range.end() > disk_size) resize(range.end());
  if (bitmap.state == State::kInconsistent) return;
  set_bits(range.offset / bitmap.granularity, divide_up(range.end(), bitmap.granularity));
}

void TrackedBitmap::clear() { std::ranges::fill(words, 0); }

void TrackedBitmap::merge(const TrackedBitmap& other) {
  assert(other.disk_size == disk_size);
  if (other.bitmap.granularity == bitmap.granularity) {
    for (size_t at = 0; at < words.size(); ++at) words[at] |= other.words[at];
    return;
  }
  for (size_t at = 0; at < other.words.size(); ++at) {
    for (uint64_t rest = other.words[at]; rest != 0; rest &= rest - 1) {
      const uint64_t bit = at * kWordBits + static_cast<uint64_t>(std::countr_zero(rest));
      const uint64_t offset = bit * other.bitmap.granularity;
      mark({offset, std::min(other.bitmap.granularity, disk_size - offset)});
    }
  }
}

void TrackedBitmap::resize(uint64_t size) noexcept {
  if (bitmap.state == State::kInconsistent) return;
  const uint64_t needed = words_for(size, bitmap.granularity);
  try {
    if (needed * sizeof(uint64_t) > kMaxBytes) throw std::bad_alloc();
    words.resize(needed, 0);
  } catch (const std::bad_alloc&) {
    bitmap.state = State::kInconsistent;
    words = {};
  }
  disk_size = size;
  const uint64_t bits = divide_up(size, bitmap.granularity);
  if (!words.empty() && bits % kWordBits != 0) {
    words.back() &= (uint64_t{1} << bits % kWordBits) - 1;
  }
}

uint64_t TrackedBitmap::dirty_bytes() const {
  uint64_t bits = 0;
  for (const uint64_t word : words) bits += static_cast<uint64_t>(std::popcount(word));
  return bits * bitmap.granularity;
}

}  // namespace ashlar
