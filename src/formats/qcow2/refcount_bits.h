// Refcounts of 1 to 64 bits in a refcount block.
// Specification: docs/interop/qcow2.rst, "Host cluster management".
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/endian.h"

namespace ashlar::qcow2 {

/// Largest refcount of width 1 << `order` bits.
constexpr uint64_t max_refcount(unsigned order) {
  return order == 6 ? ~uint64_t{0} : (uint64_t{1} << (1u << order)) - 1;
}

/// Entry `index` of `block`, whose entries are 1 << `order` bits wide.
inline uint64_t get_refcount(std::span<const std::byte> block, uint64_t index, unsigned order) {
  assert(order <= 6 && ((index + 1) << order) <= block.size() * 8);
  const std::byte* const base = block.data();
  switch (order) {
    case 3:
      return std::to_integer<uint64_t>(base[index]);
    case 4:
      return load_be<uint16_t>(base + index * 2);
    case 5:
      return load_be<uint32_t>(base + index * 4);
    case 6:
      return load_be<uint64_t>(base + index * 8);
    default: {
      const uint64_t bit = index << order;
      return std::to_integer<uint64_t>(base[bit / 8]) >> (bit % 8) & max_refcount(order);
    }
  }
}

/// Sets entry `index`. `value` must not be above max_refcount(order).
inline void set_refcount(std::span<std::byte> block, uint64_t index, unsigned order,
                         uint64_t value) {
  assert(order <= 6 && ((index + 1) << order) <= block.size() * 8);
  assert(value <= max_refcount(order));
  std::byte* const base = block.data();
  switch (order) {
    case 3:
      base[index] = static_cast<std::byte>(value);
      return;
    case 4:
      return store_be(base + index * 2, static_cast<uint16_t>(value));
    case 5:
      return store_be(base + index * 4, static_cast<uint32_t>(value));
    case 6:
      return store_be(base + index * 8, value);
    default: {
      // Narrower than a byte: the first entry is in the least significant bits.
      const uint64_t bit = index << order;
      const auto mask = static_cast<uint8_t>(max_refcount(order) << (bit % 8));
      const auto kept = std::to_integer<uint8_t>(base[bit / 8]) & ~mask;
      base[bit / 8] = static_cast<std::byte>(kept | value << (bit % 8));
    }
  }
}

}  // namespace ashlar::qcow2
