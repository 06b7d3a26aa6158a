// A child that lives in memory.
#include "testing/memory_child.h"

#include <algorithm>
#include <cstring>

#include "base/endian.h"

namespace ashlar::testing {

MemoryChild::MemoryChild(uint64_t size, std::string name) : name_(std::move(name)), size_(size) {}

MemoryChild::MemoryChild(std::span<const std::byte> content) : MemoryChild(content.size()) {
  put(0, content);
}

NodeInfo MemoryChild::info() const noexcept {
  return {.size = size_,
          .zeroes = NodeInfo::Zeroes::kNative,
          .discards = NodeInfo::Discards::kNative,
          .end = NodeInfo::End::kGrows,
          .fresh = NodeInfo::Fresh::kZeroes};
}

std::optional<Error> MemoryChild::begin() {
  ++operations_;
  if (!remaining_) return std::nullopt;
  if (*remaining_ == 0) return Error(ErrorCode::kIo, "failure on demand");
  --*remaining_;
  return std::nullopt;
}

void MemoryChild::note(Change::Kind kind, ByteRange range, std::span<const std::byte> bytes) {
  if (recording_) changes_.push_back({kind, range, {bytes.begin(), bytes.end()}});
}

Task<Result<void>> MemoryChild::read(ByteRange range, MutableBuffers into) {
  if (auto error = begin()) co_return fail(*error);
  into.copy_from(content(range));
  co_return ok();
}

Task<Result<void>> MemoryChild::write(ByteRange range, ConstBuffers from, WriteFlags) {
  if (auto error = begin()) co_return fail(*error);
  std::vector<std::byte> bytes(range.length);
  from.copy_to(bytes);
  put(range.offset, bytes);
  note(Change::Kind::kWrite, range, bytes);
  co_return ok();
}

Task<Result<void>> MemoryChild::write_zeroes(ByteRange range, ZeroFlags) {
  if (auto error = begin()) co_return fail(*error);
  zero(range);
  size_ = std::max(size_, range.end());
  note(Change::Kind::kZero, range);
  co_return ok();
}

Task<Result<void>> MemoryChild::discard(ByteRange range) {
  if (auto error = begin()) co_return fail(*error);
  zero(range);
  note(Change::Kind::kZero, range);
  co_return ok();
}

Task<Result<void>> MemoryChild::flush() {
  if (auto error = begin()) co_return fail(*error);
  note(Change::Kind::kFlush, {});
  co_return ok();
}

Task<Result<void>> MemoryChild::resize(uint64_t size, ResizeFlags) {
  if (auto error = begin()) co_return fail(*error);
  truncate(size);
  note(Change::Kind::kResize, {0, size});
  co_return ok();
}

Task<Result<Extent>> MemoryChild::status(ByteRange range) {
  if (auto error = begin()) co_return fail(*error);
  const uint64_t index = range.offset / kChunk;
  const bool data = chunks_.contains(index);
  uint64_t end = index + 1;
  const uint64_t limit = range.end() / kChunk + 1;
  if (data) {
    while (end < limit && chunks_.contains(end)) ++end;
  } else {
    const auto next = chunks_.lower_bound(end);
    end = next == chunks_.end() ? limit : std::min(limit, next->first);
  }
  Extent extent;
  extent.length = std::min(range.end(), end * kChunk) - range.offset;
  extent.present = true;
  extent.data = data;
  extent.zero = !data;
  extent.offset = range.offset;
  extent.file = this;
  co_return extent;
}

std::vector<std::byte> MemoryChild::content(ByteRange range) const {
  std::vector<std::byte> bytes(range.length);
  for (uint64_t done = 0; done < range.length;) {
    const uint64_t at = range.offset + done;
    const uint64_t part = std::min(range.length - done, kChunk - at % kChunk);
    const auto found = chunks_.find(at / kChunk);
    if (found != chunks_.end()) {
      std::memcpy(bytes.data() + done, found->second->data() + at % kChunk, part);
    }
    done += part;
  }
  return bytes;
}

void MemoryChild::put(uint64_t offset, std::span<const std::byte> bytes) {
  size_ = std::max(size_, offset + bytes.size());
  while (!bytes.empty()) {
    const uint64_t part = std::min<uint64_t>(bytes.size(), kChunk - offset % kChunk);
    auto& chunk = chunks_[offset / kChunk];
    if (!chunk) chunk = std::make_unique<Chunk>();
    std::memcpy(chunk->data() + offset % kChunk, bytes.data(), part);
    offset += part;
    bytes = bytes.subspan(part);
  }
}

void MemoryChild::zero(ByteRange range) {
  auto at = chunks_.lower_bound(range.offset / kChunk);
  while (at != chunks_.end() && at->first * kChunk < range.end()) {
    const uint64_t start = std::max(range.offset, at->first * kChunk);
    const uint64_t end = std::min(range.end(), (at->first + 1) * kChunk);
    if (end - start == kChunk) {
      at = chunks_.erase(at);
      continue;
    }
    std::memset(at->second->data() + start % kChunk, 0, end - start);
    ++at;
  }
}

void MemoryChild::truncate(uint64_t size) {
  if (size < size_) zero({size, size_ - size});
  size_ = size;
}

void MemoryChild::apply(const Change& change) {
  switch (change.kind) {
    case Change::Kind::kWrite:
      put(change.range.offset, change.bytes);
      return;
    case Change::Kind::kZero:
      zero(change.range);
      size_ = std::max(size_, change.range.end());
      return;
    case Change::Kind::kResize:
      truncate(change.range.length);
      return;
    case Change::Kind::kFlush:
      return;
  }
}

uint64_t MemoryChild::be64(uint64_t offset) const {
  return load_be<uint64_t>(content({offset, 8}).data());
}

void MemoryChild::put_be64(uint64_t offset, uint64_t value) {
  std::array<std::byte, 8> bytes;
  store_be(bytes.data(), value);
  put(offset, bytes);
}

void MemoryChild::put_be32(uint64_t offset, uint32_t value) {
  std::array<std::byte, 4> bytes;
  store_be(bytes.data(), value);
  put(offset, bytes);
}

}  // namespace ashlar::testing
