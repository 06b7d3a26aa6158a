// What each command does, and how it is answered.
#include <algorithm>
#include <utility>

#include "base/zero_scan.h"
#include "exports/nbd/transmission.h"

namespace ashlar::nbd {

Task<void> Transmission::send_error(const Request& request, WireError error,
                                    std::string_view message) {
  Reply reply;
  std::vector<std::byte> payload;
  if (session_.structured()) {
    ErrorPayload described;
    described.error = error;
    described.message = std::string(message.substr(0, kMaxString));
    payload = encode(described);
    Chunk chunk = chunk_of(request, kChunkDone);
    chunk.type = ChunkType::kError;
    reply.set_chunk(chunk, session_.headers, payload);
  } else {
    SimpleReply simple;
    simple.error = error;
    simple.cookie = request.cookie;
    reply.set_simple(simple);
  }
  co_await replies_.send(reply);
}

/// Answers a command that has nothing but success or an error to tell.
Task<void> Transmission::send_result(const Request& request, const Result<void>& result) {
  if (!result) {
    co_await send_error(request, to_wire(result.error()), result.error().message());
    co_return;
  }
  Reply reply;
  if (session_.headers == Headers::kExtended) {
    reply.set_chunk(chunk_of(request, kChunkDone), session_.headers, {});
  } else {
    SimpleReply simple;
    simple.cookie = request.cookie;
    reply.set_simple(simple);
  }
  co_await replies_.send(reply);
}

Detached Transmission::refuse(Request request, Refusal why) {
  begin(request);
  co_await send_error(request, why.error, why.message);
  end(request);
}

Detached Transmission::serve_read(Request request) {
  begin(request);
  Buffer buffer = buffers_.take(request.length);
  const MutableBuffers into(buffer.bytes());
  const ByteRange range(request.offset, request.length);
  const Result<void> done = co_await backend().read(range, into);
  if (!done) {
    co_await send_result(request, done);
  } else {
    Reply reply;
    const Chunk chunk = chunk_of(request, kChunkDone);
    if (!session_.structured()) {
      SimpleReply simple;
      simple.cookie = request.cookie;
      reply.set_simple(simple, buffer.bytes());
    } else if (range.empty()) {
      reply.set_chunk(chunk, session_.headers, {});
    } else if (may_fragment(request) && is_zero(buffer.bytes())) {
      // The scan ends at the first byte that is not zero, and zeroes need not travel.
      reply.set_hole(chunk, session_.headers, range);
    } else {
      reply.set_data(chunk, session_.headers, range.offset, buffer.bytes());
    }
    co_await replies_.send(reply);
  }
  end(request);
}

Detached Transmission::serve_read_in_chunks(Request request) {
  begin(request);
  ByteRange left(request.offset, request.length);
  Result<void> done = ok();
  while (done && !left.empty()) {
    const Result<Extent> extent = co_await backend().status(left, 0);
    if (!extent) {
      done = fail(extent.error());
      break;
    }
    const ByteRange part = left.first(std::max<uint64_t>(extent->length, 1));
    left = left.after(part.length);
    if (extent->zero) {
      Reply reply;
      reply.set_hole(chunk_of(request, left.empty() ? kChunkDone : 0), session_.headers, part);
      co_await replies_.send(reply);
    } else {
      done = co_await read_extent(request, part);
    }
  }
  if (!done) co_await send_result(request, done);
  end(request);
}

/// Reads and sends `extent` piece by piece.
Task<Result<void>> Transmission::read_extent(const Request& request, ByteRange extent) {
  Buffer buffer = buffers_.take(std::min(extent.length, kReadPiece));
  const uint64_t end_of_request = request.offset + request.length;
  while (!extent.empty()) {
    const ByteRange piece = extent.first(kReadPiece);
    extent = extent.after(piece.length);
    const std::span<std::byte> bytes = buffer.bytes().first(piece.length);
    const MutableBuffers into(bytes);
    Result<void> done = co_await backend().read(piece, into);
    if (!done) co_return done;
    Reply reply;
    const Chunk chunk = chunk_of(request, piece.end() == end_of_request ? kChunkDone : 0);
    reply.set_data(chunk, session_.headers, piece.offset, bytes);
    co_await replies_.send(reply);
  }
  co_return ok();
}

Detached Transmission::serve_write(Request request, Buffer data) {
  begin(request);
  WriteFlags flags;
  flags.fua = (request.flags & command_flag::kFua) != 0;
  const ConstBuffers from(data.bytes());
  const ByteRange range(request.offset, request.length);
  const Result<void> done = co_await backend().write(range, from, flags);
  co_await send_result(request, done);
  end(request);
}

Detached Transmission::serve_write_zeroes(Request request) {
  begin(request);
  ZeroFlags flags;
  flags.fua = (request.flags & command_flag::kFua) != 0;
  flags.may_unmap = (request.flags & command_flag::kNoHole) == 0;
  flags.no_fallback = (request.flags & command_flag::kFastZero) != 0;
  const ByteRange range(request.offset, request.length);
  const Result<void> done = co_await backend().write_zeroes(range, flags);
  co_await send_result(request, done);
  end(request);
}

Task<Result<void>> Transmission::discard(const Request& request) {
  const ByteRange range(request.offset, request.length);
  Result<void> done = co_await backend().discard(range);
  if (done && (request.flags & command_flag::kFua) != 0) done = co_await backend().flush();
  co_return done;
}

Detached Transmission::serve_trim(Request request) {
  begin(request);
  const Result<void> done = co_await discard(request);
  co_await send_result(request, done);
  end(request);
}

Detached Transmission::serve_flush(Request request) {
  begin(request);
  const Result<void> done = co_await backend().flush();
  co_await send_result(request, done);
  end(request);
}

/// Brings `range` into the caches below.
Task<Result<void>> Transmission::read_ahead(ByteRange range) {
  Buffer buffer = buffers_.take(std::min(range.length, kReadPiece));
  Result<void> done = ok();
  do {
    const ByteRange piece = range.first(kReadPiece);
    range = range.after(piece.length);
    const MutableBuffers into(buffer.bytes().first(piece.length));
    done = co_await backend().read(piece, into);
  } while (done && !range.empty());
  co_return done;
}

Detached Transmission::serve_cache(Request request) {
  begin(request);
  const ByteRange range(request.offset, request.length);
  const Result<void> done = co_await read_ahead(range);
  co_await send_result(request, done);
  end(request);
}

}  // namespace ashlar::nbd
