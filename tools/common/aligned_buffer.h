// Page-aligned memory for the data of a command.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>

#include "ashlar/bytes.h"

namespace ashlar::tools {

/// Memory for reads and writes, aligned for any of them; freed with its owner.
class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 4096;

  /// Empty when there is not that much memory. The bytes are not initialised. `shift`: the bytes
  /// start that far behind an aligned address, to exercise misaligned requests.
  static std::optional<AlignedBuffer> allocate(size_t size, size_t shift = 0) {
    if (size > SIZE_MAX - shift - kAlignment) return std::nullopt;
    const size_t rounded = align_up(size + shift + (size == 0), kAlignment);
    void* memory = std::aligned_alloc(kAlignment, rounded);
    if (memory == nullptr) return std::nullopt;
    return AlignedBuffer(static_cast<std::byte*>(memory), {shift, size});
  }

  std::span<std::byte> bytes() const { return {memory_.get() + window_.offset, window_.length}; }
  size_t size() const { return window_.length; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  AlignedBuffer(std::byte* memory, ByteRange window) : memory_(memory), window_(window) {}

  std::unique_ptr<std::byte, Free> memory_;
  ByteRange window_;
};

}  // namespace ashlar::tools
