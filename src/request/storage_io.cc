// Reading and writing storage nodes.
#include "request/storage_io.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "graph/graph_node.h"
#include "request/bounce.h"

namespace ashlar::request {

namespace {

bool memory_aligned(ConstBuffers buffers, uint32_t alignment) noexcept {
  if (alignment <= 1) return true;
  bool aligned = true;
  buffers.for_each([&](std::span<const std::byte> part) {
    aligned = aligned && is_aligned(std::bit_cast<uintptr_t>(part.data()), alignment) &&
              is_aligned(part.size(), alignment);
  });
  return aligned;
}

/// Reads a part that is aligned in the device, through a bounce buffer when memory is not.
Task<Result<void>> read_aligned(GraphNode& node, ByteRange range, MutableBuffers into) {
  if (fits_driver(node, range, into)) co_return co_await node.driver().read(range, into);
  const NodeInfo& info = node.info_ref();
  const uint64_t unit = info.request_alignment;
  uint64_t done = 0;
  while (done < range.length) {
    const uint64_t begin = range.offset + done;
    const uint64_t from = align_down(begin, unit);
    const uint64_t want = std::min<uint64_t>(range.length - done, kWorkingBuffer - unit);
    const uint64_t to = align_up(begin + want, unit);
    BounceBuffer bounce(to - from, std::max<uint64_t>(info.memory_alignment, 1));
    const ByteRange piece{from, to - from};
    const MutableBuffers memory(bounce.bytes());
    Result<void> result = co_await node.driver().read(piece, memory);
    if (!result) co_return result;
    into.slice(done, want).copy_from(bounce.bytes(begin - from, want));
    done += want;
  }
  co_return ok();
}

/// After a write. The size must be known before the units are unlocked: see read_unit().
Task<Result<void>> after_write(GraphNode& node, WriteFlags flags) {
  node.write_generation().fetch_add(1, std::memory_order_release);
  if (flags.fua && node.info_ref().fua != NodeInfo::Fua::kNative) {
    co_return co_await node.driver().flush();
  }
  co_return ok();
}

/// Reads one unit of the device to be merged with new bytes. Past the end there are zeroes.
Task<Result<void>> read_unit(GraphNode& node, uint64_t offset, MutableBuffers into) {
  if (offset < node.size()) {
    const ByteRange unit{offset, into.size()};
    co_return co_await node.driver().read(unit, into);
  }
  into.fill(std::byte{0});
  co_return ok();
}

/// Writes units of the device of which only a part is new: reads them, merges, writes them back.
/// The caller holds the range lock on the units.
Task<Result<void>> merge_write(GraphNode& node, ByteRange range, ConstBuffers from,
                               WriteFlags flags) {
  const NodeInfo& info = node.info_ref();
  const uint64_t unit = info.request_alignment;
  uint64_t done = 0;
  while (done < range.length) {
    const uint64_t begin = range.offset + done;
    const uint64_t first = align_down(begin, unit);
    const uint64_t want = std::min<uint64_t>(range.length - done, kWorkingBuffer - 2 * unit);
    const uint64_t last = align_up(begin + want, unit);
    BounceBuffer bounce(last - first, info.memory_alignment);
    const MutableBuffers head(bounce.bytes(0, unit));
    const MutableBuffers tail(bounce.bytes(last - first - unit, unit));
    const bool partial_head = begin != first;
    const bool partial_tail = begin + want != last;
    Result<void> result = ok();
    if (partial_head || (partial_tail && last - first == unit)) {
      result = co_await read_unit(node, first, head);
    }
    if (result && partial_tail && last - first > unit) {
      result = co_await read_unit(node, last - unit, tail);
    }
    if (!result) co_return result;
    from.slice(done, want).copy_to(bounce.bytes(begin - first, want));
    const ByteRange piece{first, last - first};
    const ConstBuffers memory(bounce.bytes());
    result = co_await node.driver().write(piece, memory, flags);
    if (!result) co_return result;
    done += want;
  }
  co_return ok();
}

}  // namespace

bool fits_driver(const GraphNode& node, ByteRange range, ConstBuffers buffers) noexcept {
  const NodeInfo& info = node.info_ref();
  const uint32_t unit = info.request_alignment;
  return is_aligned(range.offset, unit) && is_aligned(range.length, unit) &&
         memory_aligned(buffers, info.memory_alignment);
}

Task<Result<void>> read_storage(GraphNode& node, ByteRange range, MutableBuffers into) {
  const uint64_t limit = node.info_ref().max_transfer;
  if (limit == 0 || range.length <= limit) co_return co_await read_aligned(node, range, into);
  for (uint64_t done = 0; done < range.length; done += limit) {
    const ByteRange piece = range.after(done).first(limit);
    Result<void> result = co_await read_aligned(node, piece, into.slice(done, piece.length));
    if (!result) co_return result;
  }
  co_return ok();
}

Result<void> check_write_end(const GraphNode& node, ByteRange range) {
  if (range.end() <= node.size() || node.info_ref().end == NodeInfo::End::kGrows) return ok();
  return fail(Error(ErrorCode::kOutOfRange,
                    fmt::format("write of {} bytes at {:#x} ends past the end of \"{}\" at {:#x}",
                                range.length, range.offset, node.name(), node.size()))
                  .because("past-end"));
}

Task<Result<void>> write_storage(GraphNode& node, ByteRange range, ConstBuffers from,
                                 WriteFlags flags) {
  if (Result<void> allowed = check_write_end(node, range); !allowed) co_return allowed;
  const NodeInfo& info = node.info_ref();
  const uint64_t unit = info.request_alignment;
  Result<void> result;
  if (unit <= 1 && fits_driver(node, range, from)) {
    result = co_await node.driver().write(range, from, flags);
    if (result) node.note_grown_to(range.end());
  } else {
    // Read-modify-write puts back old bytes next to the new ones: no other write to these units
    // may be in flight meanwhile, aligned or not.
    const uint64_t first = align_down(range.offset, unit);
    const ByteRange units{first, align_up(range.end(), unit) - first};
    RangeLock::Guard guard = co_await node.write_ranges().lock(units);
    if (fits_driver(node, range, from)) {
      result = co_await node.driver().write(range, from, flags);
    } else {
      result = co_await merge_write(node, range, from, flags);
    }
    if (result) node.note_grown_to(range.end());
  }
  if (!result) {
    // A part of it may have been written: room behind the end is not fresh any more.
    if (range.end() > node.size()) node.note_grown_to(node.driver().info().size);
    co_return result;
  }
  co_return co_await after_write(node, flags);
}

}  // namespace ashlar::request
