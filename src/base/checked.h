// Arithmetic on numbers from outside: every operation says whether it fits.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>

namespace ashlar {

/// a + b, or nothing when it does not fit.
template <std::unsigned_integral T>
constexpr std::optional<T> checked_add(T a, T b) {
  T sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}
template <std::unsigned_integral T>
constexpr std::optional<T> checked_mul(T a, T b) {
  T product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}
/// The smallest number of `unit`s that hold `value`. `unit` is not 0.
constexpr uint64_t divide_up(uint64_t value, uint64_t unit) {
  return value / unit + (value % unit != 0);
}
constexpr bool is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

}  // namespace ashlar
