// Byte ranges and buffers: what every request is made of. Bytes everywhere, sectors nowhere.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ashlar {

constexpr uint64_t operator""_KiB(unsigned long long n) { return n << 10; }
constexpr uint64_t operator""_MiB(unsigned long long n) { return n << 20; }
constexpr uint64_t operator""_GiB(unsigned long long n) { return n << 30; }
constexpr uint64_t operator""_TiB(unsigned long long n) { return n << 40; }

/// Largest size and offset of any device, as for a signed 64-bit file offset.
inline constexpr uint64_t kMaxDeviceSize = (uint64_t{1} << 63) - 1;

/// `length` bytes from `offset`. Ranges that reach a driver never wrap.
struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = 0;

  // Not an aggregate: GCC 12 mishandles aggregates that are built inside a co_await expression.
  constexpr ByteRange() {}  // NOLINT(modernize-use-equals-default)
  constexpr ByteRange(uint64_t from, uint64_t count) : offset(from), length(count) {}
  constexpr ByteRange(const ByteRange&) = default;
  // Written out for the same compiler: in a coroutine it builds the right side of
  // `range = range.after(n)` in place of the left one when assignment is trivial.
  constexpr ByteRange& operator=(const ByteRange& other) {
    offset = other.offset;
    length = other.length;
    return *this;
  }

  constexpr uint64_t end() const { return offset + length; }
  constexpr bool empty() const { return length == 0; }
  constexpr bool wraps() const { return offset + length < offset; }
  constexpr bool contains(ByteRange inner) const {
    return inner.offset >= offset && inner.end() <= end();
  }
  constexpr bool overlaps(ByteRange other) const {
    return offset < other.end() && other.offset < end();
  }
  /// The part from `skip` on.
  constexpr ByteRange after(uint64_t skip) const { return {offset + skip, length - skip}; }
  /// The first `count` bytes, or all.
  constexpr ByteRange first(uint64_t count) const { return {offset, std::min(length, count)}; }
  constexpr bool operator==(const ByteRange&) const = default;
};

/// True if `value` is a multiple of `alignment`, a power of two.
constexpr bool is_aligned(uint64_t value, uint64_t alignment) {
  return (value & (alignment - 1)) == 0;
}
constexpr uint64_t align_down(uint64_t value, uint64_t alignment) {
  return value & ~(alignment - 1);
}
/// Must not be near 2^64.
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

/// A sequence of memory segments, not owned: a view with a window.
/// One segment is held in place; more are referenced, and that list must outlive the view.
template <typename Byte>
class Buffers {
 public:
  using Segment = std::span<Byte>;

  Buffers() = default;
  Buffers(const Buffers&) = default;
  // Written out: see ByteRange.
  Buffers& operator=(const Buffers& other) {
    single_ = other.single_;
    many_ = other.many_;
    skip_ = other.skip_;
    size_ = other.size_;
    return *this;
  }
  Buffers(Segment one) : single_(one), size_(one.size()) {}  // NOLINT: a view of one segment
  Buffers(Byte* data, size_t size) : single_(data, size), size_(size) {}
  explicit Buffers(std::span<const Segment> many) : many_(many) {
    for (const Segment& segment : many) size_ += segment.size();
    if (many.size() == 1) {
      single_ = many[0];
      many_ = {};
    }
  }
  /// A writable sequence can be read.
  template <typename Other>
    requires(std::is_const_v<Byte> && !std::is_const_v<Other>)
  Buffers(const Buffers<Other>& other)  // NOLINT: widening
      : single_(other.single_),
        // Spans of mutable and of const bytes have one layout; the list is only read.
        many_(reinterpret_cast<const Segment*>(other.many_.data()), other.many_.size()),
        skip_(other.skip_),
        size_(other.size_) {}

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool contiguous() const { return many_.empty(); }
  /// The only segment. Requires contiguous().
  Segment single() const {
    assert(contiguous());
    return single_;
  }

  /// `length` bytes from `offset`. Requires them to exist.
  Buffers slice(size_t offset, size_t length) const {
    assert(offset <= size_ && length <= size_ - offset);
    Buffers part;
    part.size_ = length;
    if (contiguous()) {
      part.single_ = single_.subspan(offset, length);
      return part;
    }
    part.many_ = many_;
    part.skip_ = skip_ + offset;
    while (!part.many_.empty() && part.skip_ >= part.many_.front().size()) {
      part.skip_ -= part.many_.front().size();
      part.many_ = part.many_.subspan(1);
    }
    if (part.many_.empty() || part.skip_ + length <= part.many_.front().size()) {
      if (!part.many_.empty()) part.single_ = part.many_.front().subspan(part.skip_, length);
      part.many_ = {};
      part.skip_ = 0;
    }
    return part;
  }
  Buffers from(size_t offset) const { return slice(offset, size_ - offset); }
  /// Leaves the first `count` bytes out from now on. In coroutines the way to move on: GCC 12
  /// builds the value of `x = x.from(n)` inside of x where x is a parameter of a coroutine.
  void remove_front(size_t count) { *this = from(count); }

  /// Calls `visit(Segment)` for every non-empty segment in order.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    if (contiguous()) {
      if (!single_.empty()) visit(single_);
      return;
    }
    size_t skip = skip_;
    size_t left = size_;
    for (const Segment& segment : many_) {
      if (left == 0) break;
      Segment part = segment.subspan(skip, std::min(segment.size() - skip, left));
      skip = 0;
      left -= part.size();
      if (!part.empty()) visit(part);
    }
  }

  void fill(std::byte value) const
    requires(!std::is_const_v<Byte>)
  {
    for_each(
        [value](Segment part) { std::memset(part.data(), static_cast<int>(value), part.size()); });
  }
  /// Copies `from`, which must be as long as this.
  void copy_from(std::span<const std::byte> from) const
    requires(!std::is_const_v<Byte>)
  {
    assert(from.size() == size_);
    for_each([&from](Segment part) {
      std::memcpy(part.data(), from.data(), part.size());
      from = from.subspan(part.size());
    });
  }
  /// Copies all of this to `to`, which must be as long.
  void copy_to(std::span<std::byte> to) const {
    assert(to.size() == size_);
    for_each([&to](Segment part) {
      std::memcpy(to.data(), part.data(), part.size());
      to = to.subspan(part.size());
    });
  }

 private:
  template <typename>
  friend class Buffers;

  Segment single_;
  std::span<const Segment> many_;
  size_t skip_ = 0;  // bytes of many_.front() before the window
  size_t size_ = 0;
};

using MutableBuffers = Buffers<std::byte>;
using ConstBuffers = Buffers<const std::byte>;

}  // namespace ashlar
