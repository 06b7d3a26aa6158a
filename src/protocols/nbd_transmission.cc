// Messages of the NBD protocol after the handshake.
#include "protocols/nbd_transmission.h"

#include <algorithm>

#include "protocols/nbd_wire.h"

namespace ashlar::nbd {

using wire::malformed;
using wire::Reader;
using wire::Writer;

namespace {

/// Numbers one after the other into a place of fixed size.
class Placer {
 public:
  explicit Placer(std::byte* to) : to_(to) {}
  template <std::unsigned_integral T>
  Placer& number(T value) {
    store_be(to_, value);
    to_ += sizeof value;
    return *this;
  }

 private:
  std::byte* to_;
};

std::unexpected<Error> wrong_magic(const char* what, uint32_t magic, uint32_t wanted) {
  return malformed(fmt::format("{} has magic {:#x}, not {:#x}", what, magic, wanted));
}

}  // namespace

void encode(const Request& request, Headers headers, std::span<std::byte, kMaxRequestSize> to) {
  const bool compact = headers == Headers::kCompact;
  Placer place(to.data());
  place.number(compact ? kRequestMagic : kExtendedRequestMagic).number(request.flags);
  place.number(static_cast<uint16_t>(request.command)).number(request.cookie);
  place.number(request.offset);
  if (compact) {
    place.number(static_cast<uint32_t>(request.length));
  } else {
    place.number(request.length);
  }
}

Result<Request> decode_request(std::span<const std::byte> from, Headers headers) {
  const bool compact = headers == Headers::kCompact;
  Reader reader(from);
  const auto magic = reader.number<uint32_t>();
  const uint32_t wanted = compact ? kRequestMagic : kExtendedRequestMagic;
  if (magic != wanted) return wrong_magic("request", magic, wanted);
  Request request;
  request.flags = reader.number<uint16_t>();
  request.command = reader.value<Command>();
  request.cookie = reader.number<uint64_t>();
  request.offset = reader.number<uint64_t>();
  request.length = compact ? reader.number<uint32_t>() : reader.number<uint64_t>();
  if (!reader.exact()) return malformed(fmt::format("request has {} bytes", from.size()));
  return request;
}

void encode(const SimpleReply& reply, std::span<std::byte, kSimpleReplySize> to) {
  Placer(to.data())
      .number(kSimpleReplyMagic)
      .number(static_cast<uint32_t>(reply.error))
      .number(reply.cookie);
}

void encode(const Chunk& chunk, Headers headers, std::span<std::byte, kMaxReplySize> to) {
  const bool compact = headers == Headers::kCompact;
  Placer place(to.data());
  place.number(compact ? kChunkMagic : kExtendedReplyMagic).number(chunk.flags);
  place.number(static_cast<uint16_t>(chunk.type)).number(chunk.cookie);
  if (compact) {
    place.number(static_cast<uint32_t>(chunk.length));
  } else {
    place.number(chunk.offset).number(chunk.length);
  }
}

Result<size_t> reply_header_size(std::span<const std::byte> from, Headers headers) {
  const auto magic = Reader(from).number<uint32_t>();
  if (headers == Headers::kExtended) {
    // No other kind of reply is left when extended headers were agreed on.
    if (magic == kExtendedReplyMagic) return chunk_size(headers);
    return wrong_magic("reply", magic, kExtendedReplyMagic);
  }
  if (magic == kSimpleReplyMagic) return kSimpleReplySize;
  if (magic == kChunkMagic) return chunk_size(headers);
  return wrong_magic("reply", magic, kSimpleReplyMagic);
}

Result<ReplyHeader> decode_reply_header(std::span<const std::byte> from, Headers headers) {
  const Result<size_t> size = reply_header_size(from, headers);
  if (!size) return fail(size.error());
  Reader reader(from);
  ReplyHeader header;
  if (reader.number<uint32_t>() == kSimpleReplyMagic) {
    SimpleReply reply;
    reply.error = reader.value<WireError>();
    reply.cookie = reader.number<uint64_t>();
    header.simple = reply;
  } else {
    Chunk chunk;
    chunk.flags = reader.number<uint16_t>();
    chunk.type = reader.value<ChunkType>();
    chunk.cookie = reader.number<uint64_t>();
    if (headers == Headers::kExtended) chunk.offset = reader.number<uint64_t>();
    chunk.length =
        headers == Headers::kExtended ? reader.number<uint64_t>() : reader.number<uint32_t>();
    header.chunk = chunk;
  }
  if (!reader.exact()) return malformed(fmt::format("reply has {} bytes", from.size()));
  return header;
}

std::array<std::byte, kHoleSize> encode_hole(ByteRange hole) {
  std::array<std::byte, kHoleSize> payload;
  Placer(payload.data()).number(hole.offset).number(static_cast<uint32_t>(hole.length));
  return payload;
}

Result<ByteRange> decode_hole(std::span<const std::byte> payload) {
  Reader reader(payload);
  ByteRange hole;
  hole.offset = reader.number<uint64_t>();
  hole.length = reader.number<uint32_t>();
  if (!reader.exact() || hole.empty() || hole.wraps()) {
    return malformed(fmt::format("hole of {} bytes at {:#x}, in {} bytes of payload", hole.length,
                                 hole.offset, payload.size()));
  }
  return hole;
}

std::vector<std::byte> encode(const ErrorPayload& error) {
  const std::string_view message = std::string_view(error.message).substr(0, kMaxString);
  Writer writer;
  writer.number(static_cast<uint32_t>(error.error));
  writer.number(static_cast<uint16_t>(message.size())).string(message);
  if (error.offset) writer.number(*error.offset);
  return writer.take();
}

Result<ErrorPayload> decode_error(std::span<const std::byte> payload, ChunkType type) {
  Reader reader(payload);
  ErrorPayload error;
  error.error = reader.value<WireError>();
  error.message = reader.string(reader.number<uint16_t>());
  if (type == ChunkType::kErrorOffset) error.offset = reader.number<uint64_t>();
  const bool known = type == ChunkType::kError || type == ChunkType::kErrorOffset;
  if (!reader.complete() || (known && !reader.exact()) || error.error == WireError::kNone) {
    return malformed(fmt::format("error {} in {} bytes of payload",
                                 static_cast<uint32_t>(error.error), payload.size()));
  }
  return error;
}

std::vector<std::byte> encode(const BlockStatus& status, Headers headers) {
  const bool compact = headers == Headers::kCompact;
  Writer writer;
  writer.number(status.context);
  if (!compact) writer.number(static_cast<uint32_t>(status.extents.size()));
  for (const Descriptor& extent : status.extents) {
    if (compact) {
      writer.number(static_cast<uint32_t>(extent.length));
      writer.number(static_cast<uint32_t>(extent.flags));
    } else {
      writer.number(extent.length).number(extent.flags);
    }
  }
  return writer.take();
}

Result<BlockStatus> decode_block_status(std::span<const std::byte> payload, Headers headers,
                                        size_t most) {
  const bool compact = headers == Headers::kCompact;
  const size_t size = compact ? 8 : 16;
  Reader reader(payload);
  BlockStatus status;
  status.context = reader.number<uint32_t>();
  const uint64_t told = compact ? reader.left() / size : reader.number<uint32_t>();
  if (!reader.complete() || told == 0 || reader.left() != told * size) {
    return malformed(
        fmt::format("block status of {} extents in {} bytes of payload", told, payload.size()));
  }
  const uint64_t count = std::min<uint64_t>(told, most);
  for (uint64_t index = 0; index < count; ++index) {
    Descriptor extent;
    extent.length = compact ? reader.number<uint32_t>() : reader.number<uint64_t>();
    extent.flags = compact ? reader.number<uint32_t>() : reader.number<uint64_t>();
    if (extent.length == 0) return malformed("block status of an empty extent");
    status.extents.push_back(extent);
  }
  return status;
}

std::vector<std::byte> encode(const BlockStatusFilter& filter) {
  Writer writer;
  writer.number(filter.effect_length);
  for (const uint32_t context : filter.contexts) writer.number(context);
  return writer.take();
}

Result<BlockStatusFilter> decode_block_status_filter(std::span<const std::byte> payload) {
  Reader reader(payload);
  BlockStatusFilter filter;
  filter.effect_length = reader.number<uint64_t>();
  if (!reader.complete() || reader.left() % 4 != 0) {
    return malformed(fmt::format("choice of contexts has {} bytes", payload.size()));
  }
  while (reader.left() != 0) filter.contexts.push_back(reader.number<uint32_t>());
  return filter;
}

}  // namespace ashlar::nbd
