// Block operations: printing and carrying out.
#include "testing/block_operation.h"

#include <fmt/format.h>

#include <array>

#include "testing/seeded_random.h"

namespace ashlar {

namespace {

constexpr std::array<const char*, 11> kNames{
    "read",  "write",   "write through", "write compressed", "write zeroes", "write zeroes through",
    "unmap", "discard", "flush",         "status",           "resize"};

/// `bytes` in up to four pieces of any length.
std::vector<std::span<const std::byte>> cut(std::span<const std::byte> bytes, uint64_t seed) {
  SeededRandom random(seed);
  std::vector<std::span<const std::byte>> pieces;
  for (uint64_t more = random.below(4); more > 0 && bytes.size() > 1; --more) {
    const size_t length = random.between(1, bytes.size() - 1);
    pieces.push_back(bytes.first(length));
    bytes = bytes.subspan(length);
  }
  pieces.push_back(bytes);
  return pieces;
}

Task<Result<void>> write_pieces(Backend& backend, const BlockOperation& operation) {
  const std::vector<std::byte> bytes = operation.bytes();
  const auto pieces = cut(bytes, operation.content);
  const ConstBuffers from{std::span<const std::span<const std::byte>>(pieces)};
  WriteFlags flags;
  flags.compressed = operation.kind == BlockOperation::Kind::kCompressed;
  flags.fua = operation.kind == BlockOperation::Kind::kWriteThrough;
  co_return co_await backend.write(operation.range, from, flags);
}

}  // namespace

std::vector<std::byte> compressible_bytes(size_t size, uint64_t seed) {
  SeededRandom random(seed);
  std::vector<std::byte> bytes(size);
  // Noise first, more or less of it; then long runs, each with a mark of its own.
  const size_t noise = align_down(random.below(size * 3 / 4 + 1), 64);
  random.fill(std::span(bytes).first(noise));
  for (size_t at = noise; at < size; at += 64) {
    const auto value = static_cast<std::byte>(random.next());
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(at), std::min<size_t>(64, size - at), value);
  }
  return bytes;
}

std::vector<std::byte> BlockOperation::bytes() const {
  // Some of what is to be compressed does not get smaller.
  if (kind == Kind::kCompressed && content % 6 != 0)
    return compressible_bytes(range.length, content);
  std::vector<std::byte> bytes(range.length);
  SeededRandom(content).fill(bytes);
  return bytes;
}

std::string BlockOperation::describe() const {
  const char* name = kNames[static_cast<size_t>(kind)];
  if (kind == Kind::kFlush) return name;
  if (kind == Kind::kResize) return fmt::format("{} to {:#x}", name, range.offset);
  return fmt::format("{} {:#x}+{:#x}", name, range.offset, range.length);
}

Task<Result<void>> perform(Backend& backend, BlockOperation operation,
                           std::span<std::byte> memory) {
  ZeroFlags zero;
  switch (operation.kind) {
    case BlockOperation::Kind::kRead:
      co_return co_await backend.read(operation.range, MutableBuffers(memory));
    case BlockOperation::Kind::kWrite:
    case BlockOperation::Kind::kWriteThrough:
    case BlockOperation::Kind::kCompressed:
      co_return co_await write_pieces(backend, operation);
    case BlockOperation::Kind::kZero:
    case BlockOperation::Kind::kZeroThrough:
    case BlockOperation::Kind::kZeroUnmap:
      zero.may_unmap = operation.kind == BlockOperation::Kind::kZeroUnmap;
      zero.fua = operation.kind == BlockOperation::Kind::kZeroThrough;
      co_return co_await backend.write_zeroes(operation.range, zero);
    case BlockOperation::Kind::kDiscard:
      co_return co_await backend.discard(operation.range);
    case BlockOperation::Kind::kFlush:
      co_return co_await backend.flush();
    case BlockOperation::Kind::kStatus: {
      const Result<Extent> extent = co_await backend.status(operation.range);
      if (!extent) co_return fail(extent.error());
      co_return ok();
    }
    case BlockOperation::Kind::kResize:
      co_return co_await backend.resize(operation.range.offset, ResizeFlags());
  }
  co_return ok();
}

}  // namespace ashlar
