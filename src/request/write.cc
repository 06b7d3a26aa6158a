// The one writer: in place where the format allows it, else allocate, write, commit.
#include <array>
#include <optional>

#include "async/sync.h"
#include "base/zero_scan.h"
#include "graph/graph_node.h"
#include "request/bounce.h"
#include "request/request.h"
#include "request/resolve.h"
#include "request/storage_io.h"

namespace ashlar::request {

namespace {

/// Longest piece one allocation is asked for: bounds how long its range lock is held.
constexpr uint64_t kAllocatedAtOnce = 4_MiB;

/// Where the start of `range` can be overwritten as it is, or nothing.
std::optional<InFile> in_place(const Mapping& mapping) noexcept {
  const auto* file = std::get_if<InFile>(&mapping.where);
  if (file == nullptr || !file->in_place) return std::nullopt;
  return *file;
}

GraphNode& child_node(Child* child) noexcept { return *static_cast<Edge*>(child)->child(); }

/// Writes new data with old contents around it, so that the allocation is whole.
class Surrounded {
 public:
  Surrounded(GraphNode& node, const Allocation& room, ByteRange data)
      : node_(node),
        room_(room),
        data_(data),
        head_{room.guest.offset, data.offset - room.guest.offset},
        tail_{data.end(), room.guest.end() - data.end()} {}

  Task<Result<void>> write(ConstBuffers from) {
    GraphNode& child = child_node(room_.child);
    // Data that goes into room that is zero, among zeroes, needs nothing around it.
    const bool skips_head = co_await may_skip(head_);
    const bool skips_tail = co_await may_skip(tail_);
    const bool with_head = !skips_head;
    const bool with_tail = !skips_tail;
    if (!with_head && !with_tail) {
      const ByteRange where{room_.offset + head_.length, data_.length};
      co_return co_await request::write(child, where, from, {});
    }
    const size_t extra = (with_head ? head_.length : 0) + (with_tail ? tail_.length : 0);
    BounceBuffer old(extra, 4096);
    size_t used = 0;
    Result<void> read = ok();
    if (with_head) read = co_await load(head_, old.bytes(0, head_.length));
    if (with_head) used = head_.length;
    if (read && with_tail) read = co_await load(tail_, old.bytes(used, tail_.length));
    if (!read) co_return read;
    co_return co_await write_joined(from, old.bytes(), used);
  }

 private:
  Task<bool> may_skip(ByteRange part) {
    if (part.empty()) co_return true;
    if (!room_.reads_zero) co_return false;
    Result<bool> zero = co_await reads_as_zeroes(node_, part);
    co_return zero && *zero;
  }
  Task<Result<void>> load(ByteRange part, std::span<std::byte> into) {
    return request::read(node_, part, MutableBuffers(into));
  }
  Task<Result<void>> write_joined(ConstBuffers from, std::span<std::byte> old, size_t head) {
    std::vector<std::span<const std::byte>> parts;
    if (head != 0) parts.push_back(old.first(head));
    from.for_each([&parts](std::span<const std::byte> part) { parts.push_back(part); });
    if (head != old.size()) parts.push_back(old.subspan(head));
    const ConstBuffers all{std::span<const std::span<const std::byte>>(parts)};
    const uint64_t start = head != 0 ? room_.offset : room_.offset + head_.length;
    const ByteRange where{start, all.size()};
    co_return co_await request::write(child_node(room_.child), where, all, {});
  }

  GraphNode& node_;
  const Allocation& room_;
  ByteRange data_;
  ByteRange head_;
  ByteRange tail_;
};

/// Allocates for the start of `range`, writes it and makes it visible. Gives the bytes done.
/// The caller holds the range lock on the clusters.
Task<Result<uint64_t>> write_allocated(GraphNode& node, ByteRange range, ConstBuffers from) {
  FormatDriver& format = *node.format();
  Result<Allocation> room = co_await format.allocate(range);
  if (!room) co_return fail(room.error());
  const uint64_t length = std::min(range.end(), room->guest.end()) - range.offset;
  Surrounded surrounded(node, *room, range.first(length));
  Result<void> written = co_await surrounded.write(from.slice(0, length));
  if (!written) {
    co_await format.abandon(*room);
    co_return fail(written.error());
  }
  Result<void> committed = co_await format.commit(*room);
  if (!committed) co_return fail(committed.error());
  co_return length;
}

/// Writes the start of `range` after taking the lock that allocating writes need.
Task<Result<uint64_t>> write_locked(GraphNode& node, ByteRange range, ConstBuffers from) {
  const uint64_t cluster = node.info_ref().cluster_size;
  range = range.first(kAllocatedAtOnce);
  const uint64_t first = align_down(range.offset, cluster);
  const ByteRange clusters{first, align_up(range.end(), cluster) - first};
  RangeLock::Guard guard = co_await node.write_ranges().lock(clusters);
  // What was seen before the lock is stale: somebody else may have allocated meanwhile.
  Result<Mapping> mapping = co_await node.format()->map(range);
  if (!mapping) co_return fail(mapping.error());
  if (std::optional<InFile> file = in_place(*mapping)) {
    guard.unlock();
    const uint64_t length = std::min(range.length, mapping->length);
    GraphNode& child = child_node(file->child);
    const ConstBuffers part = from.slice(0, length);
    Result<void> written = co_await request::write(child, {file->offset, length}, part, {});
    if (!written) co_return fail(written.error());
    co_return length;
  }
  co_return co_await write_allocated(node, range, from.slice(0, range.length));
}

/// Writes the start of `range` and gives the bytes done.
Task<Result<uint64_t>> write_some(GraphNode& node, ByteRange range, ConstBuffers from) {
  std::optional<Mapping> mapping = node.format()->lookup(range);
  if (!mapping && node.info_ref().cluster_size == 0) {
    Result<Mapping> mapped = co_await node.format()->map(range);
    if (!mapped) co_return fail(mapped.error());
    mapping = *mapped;
  }
  std::optional<InFile> file = mapping ? in_place(*mapping) : std::nullopt;
  if (!file) co_return co_await write_locked(node, range, from);
  const uint64_t length = std::min(range.length, mapping->length);
  GraphNode& child = child_node(file->child);
  const ConstBuffers part = from.slice(0, length);
  Result<void> written = co_await request::write(child, {file->offset, length}, part, {});
  if (!written) co_return fail(written.error());
  co_return length;
}

Task<Result<void>> write_format(GraphNode& node, ByteRange range, ConstBuffers from,
                                WriteFlags flags) {
  const ByteRange all = range;
  while (!range.empty()) {
    Result<uint64_t> done = co_await write_some(node, range, from);
    if (!done) co_return fail(done.error());
    range = range.after(*done);
    from.remove_front(*done);
  }
  node.note_grown_to(all.end());
  node.write_generation().fetch_add(1, std::memory_order_release);
  if (flags.fua) co_return co_await request::flush(node);
  co_return ok();
}

/// Stores whole clusters encoded.
Task<Result<void>> write_compressed(GraphNode& node, ByteRange range, ConstBuffers from,
                                    WriteFlags flags) {
  if (node.info_ref().compression == NodeInfo::Compression::kNone) {
    co_return fail(
        Error(ErrorCode::kUnsupported, "\"" + node.name() + "\" cannot store compressed data")
            .because("compression-unsupported"));
  }
  const uint64_t cluster = node.info_ref().cluster_size;
  const bool whole_end = is_aligned(range.end(), cluster) || range.end() == node.size();
  if (!is_aligned(range.offset, cluster) || !whole_end) {
    co_return fail(Error(ErrorCode::kInvalidArgument,
                         "compressed writes need whole clusters of \"" + node.name() + "\"")
                       .because("compression-unaligned"));
  }
  while (!range.empty()) {
    const ByteRange piece = range.first(cluster);
    RangeLock::Guard guard = co_await node.write_ranges().lock({piece.offset, cluster});
    Result<void> written =
        co_await node.format()->write_encoded(piece, from.slice(0, piece.length));
    if (!written) co_return written;
    guard.unlock();
    range = range.after(piece.length);
    from.remove_front(piece.length);
  }
  node.write_generation().fetch_add(1, std::memory_order_release);
  if (flags.fua) co_return co_await request::flush(node);
  co_return ok();
}

bool all_zero(ConstBuffers from) noexcept {
  bool zero = true;
  from.for_each([&zero](std::span<const std::byte> part) { zero = zero && is_zero(part); });
  return zero;
}

}  // namespace

std::optional<Result<void>> write_now(GraphNode& node, ByteRange range,
                                      ConstBuffers from) noexcept {
  if (node.flags().detect_zeroes != OpenFlags::DetectZeroes::kOff) return std::nullopt;
  node.note_write(range);
  if (node.format() == nullptr) {
    const NodeInfo& info = node.info_ref();
    if (info.request_alignment > 1 || range.end() > node.size()) return std::nullopt;
    if (!fits_driver(node, range, from)) return std::nullopt;
    std::optional<Result<void>> done = node.driver().write_now(range, from);
    if (done) node.write_generation().fetch_add(1, std::memory_order_release);
    return done;
  }
  std::optional<Mapping> mapping = node.format()->lookup(range);
  if (!mapping || mapping->length < range.length) return std::nullopt;
  std::optional<InFile> file = in_place(*mapping);
  if (!file) return std::nullopt;
  std::optional<Result<void>> done =
      write_now(child_node(file->child), {file->offset, range.length}, from);
  if (done) node.write_generation().fetch_add(1, std::memory_order_release);
  return done;
}

Task<Result<void>> write_bytes(GraphNode& node, ByteRange range, ConstBuffers from,
                               WriteFlags flags) {
  if (range.empty()) co_return ok();
  if (Result<void> allowed = check_write_end(node, range); !allowed) co_return allowed;
  node.note_write(range);
  Result<void> written;
  if (flags.compressed) {
    written = co_await write_compressed(node, range, from, flags);
  } else if (node.format() != nullptr) {
    written = co_await write_format(node, range, from, flags);
  } else {
    written = co_await write_storage(node, range, from, flags);
  }
  node.invalidate_resolved();
  co_return written;
}

namespace {

Task<Result<void>> write_detected_zeroes(GraphNode& node, ByteRange range, WriteFlags flags) {
  if (range.empty()) co_return ok();
  if (Result<void> allowed = check_write_end(node, range); !allowed) co_return allowed;
  node.note_write(range);
  ZeroFlags zero;
  zero.may_unmap = node.flags().detect_zeroes == OpenFlags::DetectZeroes::kUnmap;
  zero.fua = flags.fua;
  co_return co_await write_zeroes(node, range, zero);
}

}  // namespace

// No coroutine: the path of all writes has no frame for this.
Task<Result<void>> write(GraphNode& node, ByteRange range, ConstBuffers from, WriteFlags flags) {
  const bool detects = node.flags().detect_zeroes != OpenFlags::DetectZeroes::kOff;
  if (detects && !flags.compressed && all_zero(from)) {
    return write_detected_zeroes(node, range, flags);
  }
  return write_bytes(node, range, from, flags);
}

}  // namespace ashlar::request
