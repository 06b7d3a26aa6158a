// Reads a stream in large parts and hands out small ones; large ones go past the buffer.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "ashlar/stream.h"

namespace ashlar::nbd::client {

class InputBuffer {
 public:
  explicit InputBuffer(Stream& stream) : stream_(stream), bytes_(kSize) {}

  /// Makes `count` bytes (at most kSize) available and returns them; they are still to be skipped.
  Task<Result<std::span<const std::byte>>> peek(size_t count) {
    while (end_ - begin_ < count) {
      make_room(count);
      const MutableBuffers rest(bytes_.data() + end_, bytes_.size() - end_);
      Result<size_t> got = co_await stream_.read_some(rest);
      if (!got) co_return fail(got.error());
      if (*got == 0) co_return fail(ended());
      end_ += *got;
    }
    co_return std::span<const std::byte>(bytes_.data() + begin_, count);
  }
  void skip(size_t count) { begin_ += count; }

  /// Fills all of `into`.
  Task<Result<void>> read(MutableBuffers into) {
    const size_t there = std::min(into.size(), end_ - begin_);
    into.slice(0, there).copy_from(std::span(bytes_).subspan(begin_, there));
    begin_ += there;
    into.remove_front(there);
    // What is small waits in the buffer for the messages behind it.
    while (!into.empty()) {
      Result<size_t> got = co_await read_past(into);
      if (!got) co_return fail(got.error());
      if (*got == 0) co_return fail(ended());
      into.remove_front(std::min(*got, into.size()));
    }
    co_return ok();
  }

 private:
  static constexpr size_t kSize = 64 << 10;

  static Error ended() { return Error(ErrorCode::kClosed, "server closed the connection"); }

  void make_room(size_t count) {
    if (begin_ == end_) begin_ = end_ = 0;
    if (bytes_.size() - begin_ >= count) return;
    std::copy(bytes_.begin() + static_cast<std::ptrdiff_t>(begin_),
              bytes_.begin() + static_cast<std::ptrdiff_t>(end_), bytes_.begin());
    end_ -= begin_;
    begin_ = 0;
  }

  /// Into `into` and, where that is one piece, with the same call into the empty buffer behind it.
  Task<Result<size_t>> read_past(MutableBuffers into) {
    if (!into.contiguous()) co_return co_await stream_.read_some(into);
    begin_ = end_ = 0;
    const std::array<std::span<std::byte>, 2> both{into.single(), std::span(bytes_)};
    const MutableBuffers list{std::span<const std::span<std::byte>>(both)};
    Result<size_t> got = co_await stream_.read_some(list);
    if (got && *got > into.size()) end_ = *got - into.size();
    co_return got;
  }

  Stream& stream_;
  std::vector<std::byte> bytes_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace ashlar::nbd::client
