// The way into a connection: one buffer from which many requests are taken.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

#include "ashlar/stream.h"
#include "ashlar/task.h"
#include "exports/nbd/limits.h"

namespace ashlar::nbd {

/// Bytes from a stream that have come and were not taken yet.
class Receiver {
 public:
  explicit Receiver(Stream& stream)
      : stream_(stream), memory_(std::make_unique_for_overwrite<std::byte[]>(kReceiveBuffer)) {}

  std::span<const std::byte> available() const noexcept {
    return {memory_.get() + begin_, end_ - begin_};
  }
  void consume(size_t count) noexcept {
    begin_ += count;
    // From the front again: idle connections then touch few pages.
    if (begin_ == end_) begin_ = end_ = 0;
  }
  /// Waits for more. False: the other side has closed, or the connection is gone.
  Task<bool> fill() {
    make_room();
    const MutableBuffers room(memory_.get() + end_, kReceiveBuffer - end_);
    const Result<size_t> got = co_await stream_.read_some(room);
    if (!got || *got == 0) co_return false;
    end_ += *got;
    co_return true;
  }

  /// Takes the first bytes of `into` from what is there; how many.
  size_t take(std::span<std::byte> into) noexcept {
    const size_t count = std::min(into.size(), end_ - begin_);
    std::memcpy(into.data(), memory_.get() + begin_, count);
    consume(count);
    return count;
  }
  /// Receives the rest of `into` where it belongs, and what follows it into the buffer.
  Task<bool> receive_rest(std::span<std::byte> into) {
    while (!into.empty()) {
      const TwoPieces segments(into, {memory_.get(), kReceiveBuffer});
      const Result<size_t> got = co_await stream_.read_some(segments.buffers());
      if (!got || *got == 0) co_return false;
      const size_t of_this = std::min(*got, into.size());
      end_ = *got - of_this;
      into = into.subspan(of_this);
    }
    co_return true;
  }

 private:
  /// Two pieces of memory one after the other.
  class TwoPieces {
   public:
    TwoPieces(std::span<std::byte> first, std::span<std::byte> second) : segments_{first, second} {}
    MutableBuffers buffers() const {
      return MutableBuffers(std::span<const MutableBuffers::Segment>(segments_));
    }

   private:
    std::array<MutableBuffers::Segment, 2> segments_;
  };

  void make_room() noexcept {
    if (begin_ == 0) return;
    std::memmove(memory_.get(), memory_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }

  Stream& stream_;
  const std::unique_ptr<std::byte[]> memory_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace ashlar::nbd
