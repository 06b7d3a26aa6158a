// The NBD protocol: messages after the handshake, as bytes and back. Nothing here does I/O.
// Decoders say what is wrong as kCorrupt with reason "nbd-malformed".
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocols/nbd.h"

namespace ashlar::nbd {

/// Which headers were agreed on. Extended ones carry lengths of 64 bits.
enum class Headers : uint8_t { kCompact, kExtended };

/// What a client wants. Payload follows kWrite, and with command_flag::kPayloadLength others too.
struct Request {
  uint16_t flags = 0;  ///< command_flag
  Command command = Command::kRead;
  uint64_t cookie = 0;  ///< chosen by the client, repeated in the reply
  uint64_t offset = 0;
  uint64_t length = 0;  ///< below 2^32 in compact headers
  bool operator==(const Request&) const = default;
};
inline constexpr size_t kMaxRequestSize = 32;
constexpr size_t request_size(Headers headers) { return headers == Headers::kCompact ? 28 : 32; }
/// Writes request_size() bytes.
void encode(const Request& request, Headers headers, std::span<std::byte, kMaxRequestSize> to);
/// From request_size() bytes. Commands and flags may be unknown ones.
Result<Request> decode_request(std::span<const std::byte> from, Headers headers);

/// A whole answer; to kRead without structured replies, data follows when there is no error.
struct SimpleReply {
  WireError error = WireError::kNone;
  uint64_t cookie = 0;
  bool operator==(const SimpleReply&) const = default;
};
inline constexpr size_t kSimpleReplySize = 16;
void encode(const SimpleReply& reply, std::span<std::byte, kSimpleReplySize> to);

/// A part of an answer; `length` bytes of payload follow.
struct Chunk {
  uint16_t flags = 0;  ///< kChunkDone
  ChunkType type = ChunkType::kNone;
  uint64_t cookie = 0;
  uint64_t offset = 0;  ///< of the request; only extended headers have it
  uint64_t length = 0;  ///< below 2^32 in compact headers
  bool operator==(const Chunk&) const = default;
};
inline constexpr size_t kMaxReplySize = 32;
constexpr size_t chunk_size(Headers headers) { return headers == Headers::kCompact ? 20 : 32; }
/// Writes chunk_size() bytes.
void encode(const Chunk& chunk, Headers headers, std::span<std::byte, kMaxReplySize> to);

/// Any message of a server: one of the two has a value.
struct ReplyHeader {
  std::optional<SimpleReply> simple;
  std::optional<Chunk> chunk;
};
inline constexpr size_t kReplyMagicSize = 4;
/// How long the header is that starts with `from` (at least 4 bytes); checks its magic number.
Result<size_t> reply_header_size(std::span<const std::byte> from, Headers headers);
/// From reply_header_size() bytes.
Result<ReplyHeader> decode_reply_header(std::span<const std::byte> from, Headers headers);

/// Before the data of a kOffsetData chunk.
inline constexpr size_t kDataOffsetSize = 8;

/// Payload of a kOffsetHole chunk: these bytes read as zeroes.
inline constexpr size_t kHoleSize = 12;
std::array<std::byte, kHoleSize> encode_hole(ByteRange hole);
Result<ByteRange> decode_hole(std::span<const std::byte> payload);

/// Payload of kError and kErrorOffset chunks.
struct ErrorPayload {
  WireError error = WireError::kIo;
  std::string message;
  std::optional<uint64_t> offset;  ///< of kErrorOffset
  bool operator==(const ErrorPayload&) const = default;
};
/// Shortest payload: number and length of the message.
inline constexpr size_t kMinErrorPayload = 6;
/// Longest payload: number, message, offset.
inline constexpr size_t kMaxErrorPayload = kMinErrorPayload + kMaxString + 8;
std::vector<std::byte> encode(const ErrorPayload& error);
/// `type` is any error type; of those that nobody knows the common part is read.
Result<ErrorPayload> decode_error(std::span<const std::byte> payload, ChunkType type);

/// How `length` bytes are, in one metadata context.
struct Descriptor {
  uint64_t length = 0;
  uint64_t flags = 0;
  bool operator==(const Descriptor&) const = default;
};
/// Payload of kBlockStatus (compact headers) and kBlockStatusExtended chunks.
struct BlockStatus {
  uint32_t context = 0;
  std::vector<Descriptor> extents;
  bool operator==(const BlockStatus&) const = default;
};
/// Bytes of the payload for so many extents.
constexpr uint64_t block_status_size(uint64_t extents, Headers headers) {
  return headers == Headers::kCompact ? 4 + extents * 8 : 8 + extents * 16;
}
std::vector<std::byte> encode(const BlockStatus& status, Headers headers);
/// Reads at most `most` extents; those behind are left out. Extents are never empty.
Result<BlockStatus> decode_block_status(std::span<const std::byte> payload, Headers headers,
                                        size_t most);

/// Payload of kBlockStatus requests with command_flag::kPayloadLength: which contexts are wanted.
struct BlockStatusFilter {
  uint64_t effect_length = 0;
  std::vector<uint32_t> contexts;
  bool operator==(const BlockStatusFilter&) const = default;
};
std::vector<std::byte> encode(const BlockStatusFilter& filter);
Result<BlockStatusFilter> decode_block_status_filter(std::span<const std::byte> payload);

}  // namespace ashlar::nbd
