// Block status: extents of the disk as descriptors of the contexts that were negotiated.
#include <algorithm>
#include <utility>

#include "exports/nbd/bitmap_context.h"
#include "exports/nbd/transmission.h"

namespace ashlar::nbd {
namespace {

/// Adds an extent; false: there is no room for it.
bool append(BlockStatus& status, Descriptor extent, size_t most) {
  if (!status.extents.empty() && status.extents.back().flags == extent.flags) {
    status.extents.back().length += extent.length;
    return true;
  }
  if (status.extents.size() == most) return false;
  status.extents.push_back(extent);
  return true;
}

/// Those of `negotiated` that the payload of a request wants; empty: it is malformed.
std::vector<Context> wanted_contexts(const std::vector<Context>& negotiated,
                                     const BlockStatusFilter& filter) {
  std::vector<Context> wanted;
  for (const uint32_t id : filter.contexts) {
    const auto found = std::ranges::find(negotiated, id, &Context::id);
    if (found == negotiated.end() || std::ranges::find(wanted, *found) != wanted.end()) return {};
    wanted.push_back(*found);
  }
  return wanted;
}

/// The extents of a bitmap: no I/O.
Result<BlockStatus> describe_bitmap(const Context& context, ByteRange left, size_t most) {
  if (context.bitmap->stale()) {
    return fail(ErrorCode::kIo, "the bitmap is about a medium that has gone");
  }
  BlockStatus status;
  status.context = context.id;
  while (!left.empty()) {
    const Descriptor described = context.bitmap->describe(left);
    if (!append(status, described, most)) break;
    left = left.after(described.length);
  }
  return status;
}

Error malformed_filter() {
  return Error(ErrorCode::kInvalidArgument, "payload of the block status request is malformed")
      .because("nbd-malformed");
}

}  // namespace

Task<Result<BlockStatus>> Transmission::describe(const Context& context, const Request& request,
                                                 uint64_t length) {
  const size_t most = (request.flags & command_flag::kOneExtent) != 0 ? 1 : kMaxExtents;
  BlockStatus status;
  status.context = context.id;
  ByteRange left(request.offset, length);
  if (context.kind == Context::Kind::kBitmap) {
    // Asked for what it says of errors: past the end, no medium.
    const Result<Extent> there = co_await backend().status(left, 0);
    if (!there) co_return fail(there.error());
    co_return describe_bitmap(context, left, most);
  }
  while (!left.empty()) {
    const Result<Extent> extent = co_await backend().status(left, 0);
    if (!extent) co_return fail(extent.error());
    const ByteRange part = left.first(std::max<uint64_t>(extent->length, 1));
    Descriptor described;
    described.length = part.length;
    described.flags = context.flags_of(*extent);
    if (!append(status, described, most)) break;
    left = left.after(part.length);
  }
  co_return status;
}

Task<Result<void>> Transmission::send_block_status(const Request& request,
                                                   const std::vector<Context>& contexts,
                                                   uint64_t length) {
  for (const Context& context : contexts) {
    const Result<BlockStatus> status = co_await describe(context, request, length);
    if (!status) co_return fail(status.error());
    const std::vector<std::byte> payload = encode(*status, session_.headers);
    Chunk chunk = chunk_of(request, context == contexts.back() ? kChunkDone : 0);
    chunk.type = session_.headers == Headers::kExtended ? ChunkType::kBlockStatusExtended
                                                        : ChunkType::kBlockStatus;
    Reply reply;
    reply.set_chunk(chunk, session_.headers, payload);
    co_await replies_.send(reply);
  }
  co_return ok();
}

Detached Transmission::serve_block_status(Request request, Buffer filter) {
  begin(request);
  std::vector<Context> contexts = session_.contexts;
  uint64_t length = request.length;
  if ((request.flags & command_flag::kPayloadLength) != 0) {
    const Result<BlockStatusFilter> decoded = decode_block_status_filter(filter.bytes());
    contexts.clear();
    if (decoded && decoded->effect_length != 0) {
      contexts = wanted_contexts(session_.contexts, *decoded);
      length = decoded->effect_length;
    }
  }
  Result<void> done = ok();
  if (contexts.empty()) {
    done = fail(malformed_filter());
  } else {
    done = co_await send_block_status(request, contexts, length);
  }
  if (!done) co_await send_result(request, done);
  end(request);
}

}  // namespace ashlar::nbd
