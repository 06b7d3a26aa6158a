// Zeroing and discarding: edges by writing, the middle by whatever the driver can do.
#include <array>

#include "async/sync.h"
#include "graph/graph_node.h"
#include "request/request.h"
#include "request/resolve.h"
#include "request/storage_io.h"

namespace ashlar::request {

namespace {

constexpr size_t kZeroBuffer = 256_KiB;

/// Memory that is all zeroes, shared by all who write zeroes. In the read-only data of the program.
alignas(4096) constexpr std::array<std::byte, kZeroBuffer> kZeroes{};

}  // namespace

Task<Result<void>> write_zero_bytes(GraphNode& node, ByteRange range, WriteFlags flags) {
  while (!range.empty()) {
    const ByteRange piece = range.first(kZeroBuffer);
    const ConstBuffers zeroes(kZeroes.data(), piece.length);
    Result<void> written;
    if (node.format() == nullptr) {
      written = co_await write_storage(node, piece, zeroes, flags);
    } else {
      // Not write(): where zeroes are detected, that would come back here, for ever.
      written = co_await write_bytes(node, piece, zeroes, flags);
    }
    if (!written) co_return written;
    range = range.after(piece.length);
  }
  co_return ok();
}

namespace {

/// The part of `range` that is made of whole units of the node; the device's end counts as one.
ByteRange whole_units(const GraphNode& node, ByteRange range, uint64_t unit) {
  const uint64_t begin = align_up(range.offset, unit);
  const uint64_t end = range.end() >= node.size() ? range.end() : align_down(range.end(), unit);
  if (end <= begin) return {range.end(), 0};
  return {begin, end - begin};
}

Task<Result<void>> zero_storage(GraphNode& node, ByteRange range, ZeroFlags flags) {
  if (Result<void> allowed = check_write_end(node, range); !allowed) co_return allowed;
  WriteFlags edge;
  edge.fua = flags.fua;
  const NodeInfo& info = node.info_ref();
  const uint64_t unit = info.request_alignment;
  const uint64_t begin = align_up(range.offset, unit);
  const uint64_t end = align_down(range.end(), unit);
  if (info.zeroes != NodeInfo::Zeroes::kNative || end <= begin) {
    if (flags.no_fallback) {
      co_return fail(
          Error(ErrorCode::kUnsupported, "\"" + node.name() + "\" cannot zero without writing")
              .because("zero-unsupported"));
    }
    co_return co_await write_zero_bytes(node, range, edge);
  }
  const ByteRange middle{begin, end - begin};
  Result<void> done;
  {
    RangeLock::Guard guard;
    if (unit > 1) guard = co_await node.write_ranges().lock(middle);
    done = co_await node.driver().write_zeroes(middle, flags);
  }
  if (!done && done.error().code() == ErrorCode::kUnsupported && !flags.no_fallback) {
    co_return co_await write_zero_bytes(node, range, edge);
  }
  if (!done) co_return done;
  node.note_grown_to(middle.end());
  node.write_generation().fetch_add(1, std::memory_order_release);
  const ByteRange head{range.offset, begin - range.offset};
  done = co_await write_zero_bytes(node, head, edge);
  if (!done) co_return done;
  const ByteRange tail{end, range.end() - end};
  done = co_await write_zero_bytes(node, tail, edge);
  if (done && flags.fua) done = co_await node.driver().flush();
  co_return done;
}

/// A format without clusters maps all of itself: each part goes to where it lives.
Task<Result<void>> zero_mapped(GraphNode& node, ByteRange range, ZeroFlags flags) {
  while (!range.empty()) {
    Result<Mapping> mapping = co_await node.format()->map(range);
    if (!mapping) co_return fail(mapping.error());
    const auto* file = std::get_if<InFile>(&mapping->where);
    const uint64_t length = std::min(range.length, mapping->length);
    if (file != nullptr) {
      GraphNode& child = *static_cast<Edge*>(file->child)->child();
      const ByteRange where{file->offset, length};
      Result<void> done = co_await write_zeroes(child, where, flags);
      if (!done) co_return done;
    }
    range = range.after(length);
  }
  co_return ok();
}

/// Part of a cluster: nothing to do when it reads as zeroes already.
Task<Result<void>> zero_edge(GraphNode& node, ByteRange range, ZeroFlags flags) {
  if (range.empty()) co_return ok();
  Result<bool> zero = co_await reads_as_zeroes(node, range);
  if (!zero) co_return fail(zero.error());
  if (*zero) co_return ok();
  if (flags.no_fallback) {
    co_return fail(Error(ErrorCode::kUnsupported,
                         "\"" + node.name() + "\" cannot zero part of a cluster without writing")
                       .because("zero-unsupported"));
  }
  co_return co_await write_zero_bytes(node, range, {});
}

/// Part of one unit. A unit that reads as zeroes all over is zeroed as a whole: it then says so
/// itself, whatever comes to lie below it.
Task<Result<void>> zero_part(GraphNode& node, ByteRange part, uint64_t unit, ZeroFlags flags) {
  const uint64_t cluster = node.info_ref().cluster_size;
  const uint64_t first = align_down(part.offset, unit);
  const ByteRange whole{first, std::min(unit, node.size() - first)};
  const ByteRange locked{align_down(part.offset, cluster), cluster};
  RangeLock::Guard guard = co_await node.write_ranges().lock(locked);
  Result<bool> zero = co_await reads_as_zeroes(node, whole);
  if (!zero) co_return fail(zero.error());
  if (*zero) {
    Result<void> done = co_await node.driver().write_zeroes(whole, flags);
    if (done || done.error().code() != ErrorCode::kUnsupported) co_return done;
    co_return ok();
  }
  guard.unlock();
  co_return co_await zero_edge(node, part, flags);
}

Task<Result<void>> zero_parts(GraphNode& node, ByteRange range, uint64_t unit, ZeroFlags flags) {
  while (!range.empty()) {
    const ByteRange part = range.first(unit - range.offset % unit);
    Result<void> done = co_await zero_part(node, part, unit, flags);
    if (!done) co_return done;
    range = range.after(part.length);
  }
  co_return ok();
}

Task<Result<void>> zero_clusters(GraphNode& node, ByteRange range, ZeroFlags flags) {
  const NodeInfo& info = node.info_ref();
  const uint64_t unit = info.subcluster_size != 0 ? info.subcluster_size : info.cluster_size;
  const ByteRange middle = whole_units(node, range, unit);
  Result<void> done = ok();
  if (!middle.empty()) {
    const uint64_t first = align_down(middle.offset, info.cluster_size);
    const ByteRange clusters{first, align_up(middle.end(), info.cluster_size) - first};
    RangeLock::Guard guard = co_await node.write_ranges().lock(clusters);
    done = co_await node.driver().write_zeroes(middle, flags);
    guard.unlock();
    if (!done && done.error().code() == ErrorCode::kUnsupported && !flags.no_fallback) {
      done = co_await write_zero_bytes(node, middle, {});
    }
  }
  const ByteRange head{range.offset, std::min(range.end(), middle.offset) - range.offset};
  if (done) done = co_await zero_parts(node, head, unit, flags);
  if (done && middle.end() < range.end()) {
    const ByteRange tail{middle.end(), range.end() - middle.end()};
    done = co_await zero_parts(node, tail, unit, flags);
  }
  co_return done;
}

Task<Result<void>> discard_mapped(GraphNode& node, ByteRange range) {
  while (!range.empty()) {
    Result<Mapping> mapping = co_await node.format()->map(range);
    if (!mapping) co_return fail(mapping.error());
    const auto* file = std::get_if<InFile>(&mapping->where);
    const uint64_t length = std::min(range.length, mapping->length);
    if (file != nullptr) {
      GraphNode& child = *static_cast<Edge*>(file->child)->child();
      Result<void> done = co_await discard(child, {file->offset, length});
      if (!done) co_return done;
    }
    range = range.after(length);
  }
  co_return ok();
}

}  // namespace

Task<Result<void>> write_zeroes(GraphNode& node, ByteRange range, ZeroFlags flags) {
  if (range.empty()) co_return ok();
  node.note_write(range);
  if (node.flags().discard == OpenFlags::Discard::kIgnore) flags.may_unmap = false;
  Result<void> done;
  if (node.format() == nullptr) {
    done = co_await zero_storage(node, range, flags);
  } else if (node.info_ref().cluster_size == 0) {
    done = co_await zero_mapped(node, range, flags);
    if (done) node.note_grown_to(range.end());
  } else {
    done = co_await zero_clusters(node, range, flags);
  }
  node.write_generation().fetch_add(1, std::memory_order_release);
  node.invalidate_resolved();
  // Only now does a flush know that there is something to do.
  const bool by_flush = node.format() != nullptr && node.info_ref().cluster_size != 0;
  if (done && flags.fua && by_flush) done = co_await flush(node);
  co_return done;
}

Task<Result<void>> discard(GraphNode& node, ByteRange range) {
  if (node.flags().discard == OpenFlags::Discard::kIgnore || range.empty()) co_return ok();
  const NodeInfo& info = node.info_ref();
  if (info.discards == NodeInfo::Discards::kIgnored) co_return ok();
  node.note_write(range);
  Result<void> done = ok();
  if (node.format() != nullptr && info.cluster_size == 0) {
    done = co_await discard_mapped(node, range);
  } else {
    const uint64_t unit = node.format() != nullptr ? info.cluster_size : info.request_alignment;
    const ByteRange whole = whole_units(node, range, std::max<uint64_t>(unit, 1));
    if (whole.empty()) co_return ok();
    const ByteRange locked{whole.offset, align_up(whole.end(), unit) - whole.offset};
    RangeLock::Guard guard;
    if (unit > 1) guard = co_await node.write_ranges().lock(locked);
    done = co_await node.driver().discard(whole);
  }
  // A discard is a hint: a device that cannot do it has done nothing wrong.
  if (!done && done.error().code() == ErrorCode::kUnsupported) done = ok();
  node.write_generation().fetch_add(1, std::memory_order_release);
  node.invalidate_resolved();
  co_return done;
}

Task<Result<void>> reserve(GraphNode& node, ByteRange range) {
  Result<void> done = ok();
  if (node.format() == nullptr) {
    done = co_await node.driver().reserve(range);
    // Room then comes with what is written.
    if (!done && done.error().code() == ErrorCode::kUnsupported) co_return ok();
  } else if (node.info_ref().cluster_size == 0) {
    for (ByteRange rest = range; done && !rest.empty();) {
      const Result<Mapping> mapping = co_await node.format()->map(rest);
      if (!mapping) co_return fail(mapping.error());
      const uint64_t length = std::min(rest.length, mapping->length);
      const auto* file = std::get_if<InFile>(&mapping->where);
      rest = rest.after(length);
      if (file == nullptr) continue;
      GraphNode& child = *static_cast<Edge*>(file->child)->child();
      done = co_await reserve(child, {file->offset, length});
    }
  } else {
    co_return ok();  // formats with room of their own give it when it is needed
  }
  if (done) node.note_grown_to(range.end());
  node.write_generation().fetch_add(1, std::memory_order_release);
  co_return done;
}

}  // namespace ashlar::request
