// Working buffers: aligned memory that a request owns for a while.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "ashlar/bytes.h"

namespace ashlar::request {

/// Aligned memory, freed with its owner.
class BounceBuffer {
 public:
  BounceBuffer(size_t size, size_t alignment)
      : alignment_(std::align_val_t(alignment < 64 ? 64 : alignment)),
        size_(size),
        data_(static_cast<std::byte*>(::operator new(size, alignment_)), Free{alignment_}) {}

  std::span<std::byte> bytes() const { return {data_.get(), size_}; }
  std::span<std::byte> bytes(size_t offset, size_t length) const {
    return bytes().subspan(offset, length);
  }

 private:
  struct Free {
    std::align_val_t alignment;
    void operator()(std::byte* data) const { ::operator delete(data, alignment); }
  };
  std::align_val_t alignment_;
  size_t size_;
  std::unique_ptr<std::byte, Free> data_;
};

/// Largest working buffer of one request: stays in the second-level cache.
inline constexpr size_t kWorkingBuffer = 256_KiB;

}  // namespace ashlar::request
