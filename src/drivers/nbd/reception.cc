// Replies, checked against the requests that they claim to answer.
#include "drivers/nbd/reception.h"

#include <fmt/format.h>

#include "base/endian.h"

namespace ashlar::nbd::client {
namespace {

/// Largest block status that is read; the answer to one extent has a fraction of it.
constexpr uint64_t kMaxStatusPayload = 32 << 10;

std::unexpected<Error> malformed(std::string what) {
  return fail(Error(ErrorCode::kCorrupt, std::move(what)).because("nbd-malformed"));
}

std::string describe(const Request& request) {
  const auto with_range = [&request](std::string_view verb) {
    return fmt::format("{} {} bytes at {:#x}", verb, request.length, request.offset);
  };
  switch (request.command) {
    case Command::kRead:
      return with_range("read");
    case Command::kWrite:
      return with_range("write");
    case Command::kWriteZeroes:
      return with_range("zero");
    case Command::kTrim:
      return with_range("discard");
    case Command::kBlockStatus:
      return with_range("ask for the status of");
    case Command::kFlush:
      return "flush";
    default:
      return "request";
  }
}

}  // namespace

Task<Result<void>> Reception::run() {
  for (;;) {
    Result<ReplyHeader> header = co_await next_header();
    if (!header) co_return fail(header.error());
    Result<void> taken;
    if (header->simple) {
      taken = co_await take_simple(*header->simple);
    } else {
      taken = co_await take_chunk(*header->chunk);
    }
    if (!taken) co_return taken;
  }
}

Task<Result<ReplyHeader>> Reception::next_header() {
  const Headers headers = channel_.agreement_.headers;
  Result<std::span<const std::byte>> bytes = co_await input_.peek(kReplyMagicSize);
  if (!bytes) co_return fail(bytes.error());
  const Result<size_t> size = reply_header_size(*bytes, headers);
  if (!size) co_return fail(size.error());
  bytes = co_await input_.peek(*size);
  if (!bytes) co_return fail(bytes.error());
  Result<ReplyHeader> header = decode_reply_header(*bytes, headers);
  input_.skip(*size);
  co_return std::move(header);
}

Task<Result<void>> Reception::take_simple(SimpleReply reply) {
  Call* call = channel_.find(reply.cookie);
  if (call == nullptr) co_return malformed(fmt::format("reply to no request, {:#x}", reply.cookie));
  const bool reads = call->request.command == Command::kRead;
  if (reads && channel_.agreement_.structured) {
    co_return malformed("simple reply to a read, though structured replies were agreed on");
  }
  if (reply.error != WireError::kNone) {
    call->error_ = from_wire(reply.error, describe(call->request));
  } else if (reads) {
    Result<void> read = co_await input_.read(call->into);
    if (!read) co_return read;
    call->received_.add({call->request.offset, call->request.length});
  }
  finish(*call);
  co_return ok();
}

Task<Result<void>> Reception::take_chunk(Chunk chunk) {
  if (!channel_.agreement_.structured) co_return malformed("structured reply nobody agreed on");
  Call* call = channel_.find(chunk.cookie);
  if (call == nullptr) co_return malformed(fmt::format("reply to no request, {:#x}", chunk.cookie));
  Result<void> taken = co_await take_payload(*call, chunk);
  if (!taken) co_return taken;
  if ((chunk.flags & kChunkDone) != 0) finish(*call);
  co_return ok();
}

Task<Result<void>> Reception::take_payload(Call& call, Chunk chunk) {
  if (is_error(chunk.type)) co_return co_await take_error(call, chunk);
  switch (chunk.type) {
    case ChunkType::kNone:
      if (chunk.length == 0 && (chunk.flags & kChunkDone) != 0) co_return ok();
      co_return malformed(fmt::format("empty chunk with {} bytes", chunk.length));
    case ChunkType::kOffsetData:
      co_return co_await take_data(call, chunk);
    case ChunkType::kOffsetHole:
      co_return co_await take_hole(call, chunk);
    case ChunkType::kBlockStatus:
    case ChunkType::kBlockStatusExtended:
      co_return co_await take_status(call, chunk);
    default:
      co_return malformed(fmt::format("chunk of type {}", static_cast<unsigned>(chunk.type)));
  }
}

Result<MutableBuffers> Reception::place(Call& call, ByteRange part) {
  const ByteRange all{call.request.offset, call.request.length};
  const bool reads = call.request.command == Command::kRead;
  if (!reads || part.empty() || part.wraps() || !all.contains(part)) {
    return malformed(fmt::format("{} bytes at {:#x} in the answer to the request to {}",
                                 part.length, part.offset, describe(call.request)));
  }
  if (!call.received_.add(part)) {
    return malformed(fmt::format("{} bytes at {:#x} a second time", part.length, part.offset));
  }
  return call.into.slice(part.offset - all.offset, part.length);
}

Task<Result<void>> Reception::take_data(Call& call, Chunk chunk) {
  if (chunk.length <= kDataOffsetSize || chunk.length - kDataOffsetSize > call.request.length) {
    co_return malformed(fmt::format("chunk of data with {} bytes", chunk.length));
  }
  Result<std::span<const std::byte>> bytes = co_await input_.peek(kDataOffsetSize);
  if (!bytes) co_return fail(bytes.error());
  const ByteRange part{load_be<uint64_t>(bytes->data()), chunk.length - kDataOffsetSize};
  input_.skip(kDataOffsetSize);
  Result<MutableBuffers> into = place(call, part);
  if (!into) co_return fail(into.error());
  co_return co_await input_.read(*into);
}

Task<Result<void>> Reception::take_hole(Call& call, Chunk chunk) {
  if (chunk.length != kHoleSize) {
    co_return malformed(fmt::format("chunk of a hole with {} bytes", chunk.length));
  }
  Result<std::span<const std::byte>> bytes = co_await input_.peek(kHoleSize);
  if (!bytes) co_return fail(bytes.error());
  const Result<ByteRange> hole = decode_hole(*bytes);
  input_.skip(kHoleSize);
  if (!hole) co_return fail(hole.error());
  Result<MutableBuffers> into = place(call, *hole);
  if (!into) co_return fail(into.error());
  into->fill(std::byte{0});
  co_return ok();
}

Task<Result<void>> Reception::take_status(Call& call, Chunk chunk) {
  const Agreement& agreement = channel_.agreement_;
  const ChunkType wanted = agreement.headers == Headers::kExtended ? ChunkType::kBlockStatusExtended
                                                                   : ChunkType::kBlockStatus;
  if (call.request.command != Command::kBlockStatus || chunk.type != wanted || call.has_status_ ||
      chunk.length > kMaxStatusPayload) {
    co_return malformed(fmt::format("block status of {} bytes in the answer to the request to {}",
                                    chunk.length, describe(call.request)));
  }
  Result<std::span<const std::byte>> bytes = co_await input_.peek(chunk.length);
  if (!bytes) co_return fail(bytes.error());
  Result<BlockStatus> status = decode_block_status(*bytes, agreement.headers, 1);
  input_.skip(chunk.length);
  if (!status) co_return fail(status.error());
  if (status->context != agreement.context) {
    co_return malformed(fmt::format("block status of context {} nobody chose", status->context));
  }
  call.status = status->extents.front();
  call.has_status_ = true;
  co_return ok();
}

Task<Result<void>> Reception::take_error(Call& call, Chunk chunk) {
  if (chunk.length < kMinErrorPayload || chunk.length > kMaxErrorPayload) {
    co_return malformed(fmt::format("error with {} bytes", chunk.length));
  }
  Result<std::span<const std::byte>> bytes = co_await input_.peek(chunk.length);
  if (!bytes) co_return fail(bytes.error());
  Result<ErrorPayload> error = decode_error(*bytes, chunk.type);
  input_.skip(chunk.length);
  if (!error) co_return fail(error.error());
  if (!call.error_) {
    const std::string message = printable(std::as_bytes(std::span(error->message)));
    call.error_ = from_wire(error->error, describe(call.request), message);
  }
  co_return ok();
}

void Reception::finish(Call& call) {
  const Command command = call.request.command;
  const ByteRange all{call.request.offset, call.request.length};
  const bool complete = (command != Command::kRead || call.received_.covers(all)) &&
                        (command != Command::kBlockStatus || call.has_status_);
  if (!call.error_ && !complete) {
    call.error_ = Error(ErrorCode::kIo, fmt::format("{}: server left out a part of the answer",
                                                    describe(call.request)))
                      .because("nbd-incomplete");
  }
  channel_.finish(call);
}

}  // namespace ashlar::nbd::client
