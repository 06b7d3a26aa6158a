// Memory for the data of requests: two sizes, a bounded number of each, kept for the next request.
#pragma once

#include <cassert>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/task.h"
#include "async/sync.h"

namespace ashlar::fuse {

/// Largest data of one request; the kernel's limit too.
inline constexpr size_t kMaxData = 1_MiB;
/// What is in front of the data of a write: its two headers.
inline constexpr size_t kHeaderRoom = 4_KiB;

/// The blocks of one loop.
class BlockPool {
 public:
  static constexpr size_t kSmallData = 16_KiB;
  static constexpr unsigned kMostSmall = 256;
  static constexpr unsigned kMostLarge = 16;

  class Block {
   public:
    Block() = default;
    Block(Block&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          memory_(std::move(other.memory_)),
          size_(other.size_) {}
    Block& operator=(Block&& other) noexcept {
      give_back();
      pool_ = std::exchange(other.pool_, nullptr);
      memory_ = std::move(other.memory_);
      size_ = other.size_;
      return *this;
    }
    ~Block() { give_back(); }

    explicit operator bool() const noexcept { return pool_ != nullptr; }
    /// Aligned to pages, for storage below that wants it.
    std::byte* data() const noexcept { return memory_.get() + kHeaderRoom; }
    size_t size() const noexcept { return size_; }
    /// Where to receive a request whose headers take `headers` bytes, so that its data is data().
    std::span<std::byte> receive_area(size_t headers) const noexcept {
      return {data() - headers, size_ + headers};
    }

   private:
    friend class BlockPool;
    struct Release {
      void operator()(std::byte* memory) const {
        ::operator delete[](memory, std::align_val_t{kHeaderRoom});
      }
    };
    using Memory = std::unique_ptr<std::byte[], Release>;
    Block(BlockPool& pool, Memory memory, size_t size)
        : pool_(&pool), memory_(std::move(memory)), size_(size) {}
    void give_back() noexcept {
      if (pool_ != nullptr) std::exchange(pool_, nullptr)->take_back(std::move(memory_), size_);
    }

    BlockPool* pool_ = nullptr;
    Memory memory_;
    size_t size_ = 0;
  };

  /// Room for `length` bytes of data; waits while too many are in use.
  Task<Block> take(size_t length) {
    co_await (is_small(length) ? small_left_ : large_left_).acquire();
    co_return make(length);
  }
  /// take() for small data, of which there is enough for kMostSmall users.
  Block take_small(size_t length) {
    [[maybe_unused]] const bool there = is_small(length) && small_left_.try_acquire();
    assert(there);
    return make(length);
  }
  static bool is_small(size_t length) noexcept { return length <= kSmallData; }

 private:
  Block make(size_t length) {
    std::vector<Block::Memory>& free = is_small(length) ? small_ : large_;
    const size_t size = is_small(length) ? kSmallData : kMaxData;
    Block::Memory memory;
    if (free.empty()) {
      memory.reset(new (std::align_val_t{kHeaderRoom}) std::byte[kHeaderRoom + size]);
    } else {
      memory = std::move(free.back());
      free.pop_back();
    }
    return {*this, std::move(memory), size};
  }
  void take_back(Block::Memory memory, size_t size) noexcept {
    (is_small(size) ? small_ : large_).push_back(std::move(memory));
    (is_small(size) ? small_left_ : large_left_).release();
  }

  std::vector<Block::Memory> small_;
  std::vector<Block::Memory> large_;
  Semaphore small_left_{kMostSmall};
  Semaphore large_left_{kMostLarge};
};
using Block = BlockPool::Block;

}  // namespace ashlar::fuse
