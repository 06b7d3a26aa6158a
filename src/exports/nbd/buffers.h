// Memory for the data of requests: kept by size for the next one, page-aligned, bounded.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "exports/nbd/limits.h"

namespace ashlar::nbd {

/// The free buffers of one loop. Outlives its buffers; one thread at a time.
class BufferPool {
 public:
  /// Some memory of a pool. Moved, never copied.
  class Buffer {
   public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(data_, other.data_);
      std::swap(size_, other.size_);
      return *this;
    }
    ~Buffer() {
      if (data_ != nullptr) pool_->take_back(data_, size_);
    }
    std::span<std::byte> bytes() const noexcept { return {data_, size_}; }

   private:
    friend class BufferPool;
    Buffer(BufferPool& pool, std::byte* data, size_t size)
        : pool_(&pool), data_(data), size_(size) {}
    BufferPool* pool_ = nullptr;
    std::byte* data_ = nullptr;  // of size_class_bytes(size_)
    size_t size_ = 0;
  };

  BufferPool() = default;
  BufferPool(const BufferPool&) = delete;
  ~BufferPool() { trim(); }

  /// `size` bytes with any content; none for 0.
  Buffer take(size_t size) {
    if (size == 0) return {};
    const size_t size_class = class_of(size);
    if (size_class < kClasses && free_[size_class] != nullptr) {
      Free* found = free_[size_class];
      free_[size_class] = found->next;
      kept_ -= class_bytes(size_class);
      return {*this, reinterpret_cast<std::byte*>(found), size};
    }
    return {*this, allocate(capacity_of(size)), size};
  }

  /// Gives all free memory back.
  void trim() noexcept {
    for (Free*& head : free_) {
      while (head != nullptr) release(std::exchange(head, head->next));
    }
    kept_ = 0;
  }
  size_t kept_bytes() const noexcept { return kept_; }

 private:
  struct Free {
    Free* next;
  };
  static constexpr size_t kSmallest = 4_KiB;
  static constexpr size_t kClasses = 9;  // up to 1 MiB

  static size_t class_of(size_t size) {
    return size <= kSmallest ? 0 : static_cast<size_t>(std::bit_width((size - 1) / kSmallest));
  }
  static size_t class_bytes(size_t size_class) { return kSmallest << size_class; }
  static size_t capacity_of(size_t size) {
    const size_t size_class = class_of(size);
    return size_class < kClasses ? class_bytes(size_class) : align_up(size, kSmallest);
  }
  static std::byte* allocate(size_t size) {
    return static_cast<std::byte*>(::operator new(size, std::align_val_t{kSmallest}));
  }
  static void release(Free* memory) noexcept {
    ::operator delete(memory, std::align_val_t{kSmallest});
  }
  void take_back(std::byte* data, size_t size) noexcept {
    const size_t size_class = class_of(size);
    auto* memory = new (data) Free{nullptr};
    if (size_class >= kClasses || kept_ + class_bytes(size_class) > kKeptBytes) {
      release(memory);
      return;
    }
    memory->next = free_[size_class];
    free_[size_class] = memory;
    kept_ += class_bytes(size_class);
  }

  std::array<Free*, kClasses> free_{};
  size_t kept_ = 0;
};
using Buffer = BufferPool::Buffer;

}  // namespace ashlar::nbd
