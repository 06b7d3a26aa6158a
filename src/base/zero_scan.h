// Is a piece of memory all zeroes? The scan behind sparse copies and zero detection.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace ashlar {

/// True for empty memory too. Runs at memory speed: memcmp of the piece with itself, shifted.
inline bool is_zero(std::span<const std::byte> memory) noexcept {
  constexpr size_t kHead = 16;
  const size_t head = memory.size() < kHead ? memory.size() : kHead;
  for (size_t i = 0; i < head; ++i) {
    if (memory[i] != std::byte{0}) return false;
  }
  if (memory.size() <= kHead) return true;
  return std::memcmp(memory.data(), memory.data() + kHead, memory.size() - kHead) == 0;
}

}  // namespace ashlar
