// Numbers in images and on the wire: big- and little-endian loads and stores from bytes.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

namespace ashlar {

template <std::unsigned_integral T>
T load_be(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1)
    value = std::byteswap(value);
  return value;
}
template <std::unsigned_integral T>
void store_be(std::byte* to, T value) {
  if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1)
    value = std::byteswap(value);
  std::memcpy(to, &value, sizeof value);
}
template <std::unsigned_integral T>
T load_le(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  if constexpr (std::endian::native == std::endian::big && sizeof(T) > 1)
    value = std::byteswap(value);
  return value;
}
template <std::unsigned_integral T>
void store_le(std::byte* to, T value) {
  if constexpr (std::endian::native == std::endian::big && sizeof(T) > 1)
    value = std::byteswap(value);
  std::memcpy(to, &value, sizeof value);
}

}  // namespace ashlar
