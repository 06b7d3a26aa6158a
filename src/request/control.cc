// Flush, resize and block status.
#include <algorithm>

#include "graph/graph_node.h"
#include "request/request.h"
#include "request/resolve.h"

namespace ashlar::request {

namespace {

/// Whether block status trusts "data" or asks the file for holes.
Task<Result<bool>> asks_for_holes(GraphNode& node) {
  if (node.info_ref().cluster_size == 0) co_return true;
  co_return co_await node.format()->has_holes_below();
}

/// Refines what a format calls data by what is below it.
Task<Result<Extent>> data_status(GraphNode& node, const InFile& file, Extent extent) {
  const auto* edge = static_cast<const Edge*>(file.child);
  GraphNode& child = *edge->child();
  extent.present = true;
  extent.data = true;
  extent.offset = file.offset;
  extent.file = file.child;
  Result<bool> ask = co_await asks_for_holes(node);
  if (!ask) co_return fail(ask.error());
  if (!*ask) co_return extent;
  if (file.offset >= child.size()) {
    extent.zero = true;
    if (node.info_ref().cluster_size == 0) extent.data = false;
    co_return extent;
  }
  Result<Extent> below = co_await status(child, {file.offset, extent.length}, 1);
  if (!below) co_return below;
  extent.length = std::min(extent.length, below->length);
  extent.zero = below->zero;
  if (node.info_ref().cluster_size == 0) {
    // Nothing of its own to say: the child's answer is this node's.
    extent.data = below->data;
    extent.offset = below->offset;
    extent.present = below->present;
    extent.compressed = below->compressed;
    if (below->file != nullptr) extent.file = below->file;
  }
  co_return extent;
}

Task<Result<Extent>> storage_status(GraphNode& node, ByteRange range, unsigned depth) {
  Result<Extent> extent = co_await node.driver().status(range);
  if (!extent) co_return extent;
  extent->depth = depth;
  extent->present = true;
  extent->length = std::min(extent->length, range.length);
  extent->offset = range.offset;
  co_return extent;
}

}  // namespace

Task<Result<Extent>> status(GraphNode& node, ByteRange range, unsigned layers) {
  GraphNode* at = &node;
  unsigned depth = 0;
  while (true) {
    if (range.offset >= at->size()) {
      Extent past;
      past.length = range.length;
      past.depth = depth;
      past.zero = true;
      co_return past;
    }
    range = range.first(at->size() - range.offset);
    if (at->format() == nullptr) co_return co_await storage_status(*at, range, depth);
    Result<Mapping> mapping = co_await at->format()->map(range);
    if (!mapping) co_return fail(mapping.error());
    range = range.first(mapping->length);
    Extent extent;
    extent.length = range.length;
    extent.depth = depth;
    if (const auto* file = std::get_if<InFile>(&mapping->where)) {
      co_return co_await data_status(*at, *file, extent);
    }
    if (const auto* zero = std::get_if<ReadsZero>(&mapping->where)) {
      extent.present = true;
      extent.zero = true;
      if (zero->child != nullptr) {
        extent.offset = zero->offset;
        extent.file = zero->child;
      }
      co_return extent;
    }
    if (std::holds_alternative<Encoded>(mapping->where)) {
      extent.present = true;
      extent.data = true;
      extent.compressed = true;
      co_return extent;
    }
    Edge* backing = at->backing_edge();
    const bool shows_backing = backing != nullptr && range.offset < backing->child()->size();
    if (!shows_backing || (layers != 0 && depth + 1 >= layers)) {
      extent.zero = !shows_backing;
      const auto& reserved = std::get<InBacking>(mapping->where);
      if (reserved.child != nullptr) {
        extent.offset = reserved.offset;
        extent.file = reserved.child;
      }
      co_return extent;
    }
    at = backing->child();
    ++depth;
  }
}

Task<Result<void>> flush(GraphNode& node) {
  // Group commit is the driver's; here only: nothing written since the last flush, nothing to do.
  const uint64_t generation = node.write_generation().load(std::memory_order_acquire);
  if (node.flushed_generation().load(std::memory_order_acquire) == generation) co_return ok();
  Result<void> done = ok();
  if (node.format() != nullptr && node.info_ref().cluster_size == 0) {
    Node* primary = node.primary();
    if (primary != nullptr) done = co_await flush(*static_cast<GraphNode*>(primary));
  } else {
    done = co_await node.driver().flush();
  }
  if (!done) co_return done;
  uint64_t seen = node.flushed_generation().load(std::memory_order_relaxed);
  while (seen < generation && !node.flushed_generation().compare_exchange_weak(seen, generation)) {
  }
  co_return ok();
}

namespace {

/// The first format below `node` that maps for itself; null: there is none.
FormatDriver* mapping_format(const GraphNode& node) noexcept {
  const GraphNode* at = &node;
  while (at != nullptr && (at->format() == nullptr || at->info_ref().cluster_size == 0)) {
    at = static_cast<const GraphNode*>(at->primary());
  }
  return at == nullptr ? nullptr : at->format();
}

}  // namespace

bool settled(const GraphNode& node) noexcept {
  const FormatDriver* format = mapping_format(node);
  return format == nullptr || format->settled();
}

Task<Result<void>> settle(GraphNode& node) {
  FormatDriver* format = mapping_format(node);
  if (format == nullptr || format->settled()) co_return ok();
  co_return co_await format->settle();
}

namespace {

/// What has become part of `node` by growing from `old_size` reads as zeroes: neither what an
/// earlier, longer life left in the last cluster shows, nor a longer backing image.
Task<Result<void>> hide_below(GraphNode& node, uint64_t old_size, ResizeFlags flags) {
  const uint64_t cluster = node.info_ref().cluster_size;
  if (node.format() == nullptr || cluster == 0 || node.size() <= old_size) co_return ok();
  uint64_t end = align_up(old_size, cluster);
  const Edge* backing = node.backing_edge();
  const bool has_own_room = flags.preallocation != Preallocation::kOff;
  if (backing != nullptr && has_own_room) {
    // The cluster with the old end in it gets its room, and what it showed, by being written.
    const uint64_t written_to = std::min(end, node.size());
    co_return co_await write_zero_bytes(node, {old_size, written_to - old_size}, {});
  }
  if (backing != nullptr) end = std::max(end, backing->child()->size());
  end = std::min(end, node.size());
  if (end <= old_size) co_return ok();
  for (ByteRange rest{old_size, end - old_size}; !rest.empty();) {
    const Result<Extent> extent = co_await status(node, rest, 0);
    if (!extent) co_return fail(extent.error());
    const ByteRange part = rest.first(std::clamp<uint64_t>(extent->length, 1, rest.length));
    rest = rest.after(part.length);
    if (extent->zero) continue;
    const Result<void> zeroed = co_await write_zeroes(node, part, {});
    if (!zeroed) co_return zeroed;
  }
  co_return ok();
}

}  // namespace

Task<Result<void>> resize(GraphNode& node, uint64_t size, ResizeFlags flags) {
  if (size > kMaxDeviceSize) {
    co_return fail(ErrorCode::kTooLarge, "a device cannot be larger than 2^63 - 1 bytes");
  }
  const uint64_t old_size = node.size();
  Result<void> done = co_await node.driver().resize(size, flags);
  node.refresh_info();
  node.watch().resized(node.size());
  if (done) done = co_await hide_below(node, old_size, flags);
  node.write_generation().fetch_add(1, std::memory_order_release);
  node.invalidate_resolved();
  co_return done;
}

}  // namespace ashlar::request

namespace ashlar {

// What drivers see of their children: the same reader and writer.

Task<Result<void>> Edge::read(ByteRange range, MutableBuffers into) {
  return request::read(*child_, range, into);
}
Task<Result<void>> Edge::write(ByteRange range, ConstBuffers from, WriteFlags flags) {
  return request::write(*child_, range, from, flags);
}
Task<Result<void>> Edge::write_zeroes(ByteRange range, ZeroFlags flags) {
  return request::write_zeroes(*child_, range, flags);
}
Task<Result<void>> Edge::discard(ByteRange range) { return request::discard(*child_, range); }
Task<Result<void>> Edge::reserve(ByteRange range) { return request::reserve(*child_, range); }
Task<Result<void>> Edge::flush() { return request::flush(*child_); }
Task<Result<void>> Edge::resize(uint64_t size, ResizeFlags flags) {
  return request::resize(*child_, size, flags);
}
Task<Result<Extent>> Edge::status(ByteRange range) { return request::status(*child_, range, 1); }

}  // namespace ashlar
