// The NBD protocol: messages of the handshake, as bytes and back. Nothing here does I/O.
// Decoders take exactly one message, or the data of one; what is wrong with it is kCorrupt with
// reason "nbd-malformed".
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocols/nbd.h"

namespace ashlar::nbd {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;

/// The first 16 bytes of a server: which handshake follows.
enum class Style : uint8_t { kOld, kNew };
inline constexpr size_t kGreetingSize = 16;
Result<Style> decode_greeting(ByteView bytes);
/// All that a new style server says first: the greeting and its flags.
Bytes encode_greeting(uint16_t handshake_flags);
inline constexpr size_t kHandshakeFlagsSize = 2;
uint16_t decode_handshake_flags(std::span<const std::byte, kHandshakeFlagsSize> bytes);

inline constexpr size_t kClientFlagsSize = 4;
Bytes encode_client_flags(uint32_t flags);
uint32_t decode_client_flags(std::span<const std::byte, kClientFlagsSize> bytes);

/// Size and flags of an export.
struct ExportSummary {
  uint64_t size = 0;
  uint16_t flags = 0;  ///< transmission_flag
  bool operator==(const ExportSummary&) const = default;
};
inline constexpr size_t kReservedZeroes = 124;
/// What follows an old style greeting: the summary and zeroes.
inline constexpr size_t kOldStyleSize = 8 + 4 + kReservedZeroes;
ExportSummary decode_old_style(std::span<const std::byte, kOldStyleSize> bytes);
/// A whole old style handshake, greeting included.
Bytes encode_old_style(const ExportSummary& summary);

/// What answers kExportName; the zeroes behind it are there unless both sides agreed to leave them.
inline constexpr size_t kExportNameReplySize = 10;
Bytes encode_export_name_reply(const ExportSummary& summary);
ExportSummary decode_export_name_reply(std::span<const std::byte, kExportNameReplySize> bytes);

/// The head of an option; `length` bytes of data follow.
struct OptionHeader {
  Option option = Option::kAbort;
  uint32_t length = 0;
};
inline constexpr size_t kOptionHeaderSize = 16;
Result<OptionHeader> decode_option_header(std::span<const std::byte, kOptionHeaderSize> bytes);
/// A whole option.
Bytes encode_option(Option option, ByteView data = {});

/// The head of a reply to an option; `length` bytes of data follow.
struct OptionReplyHeader {
  Option option = Option::kAbort;
  OptionReply type = OptionReply::kAck;
  uint32_t length = 0;
};
inline constexpr size_t kOptionReplyHeaderSize = 20;
Result<OptionReplyHeader> decode_option_reply_header(
    std::span<const std::byte, kOptionReplyHeaderSize> bytes);
/// A whole reply.
Bytes encode_option_reply(Option option, OptionReply type, ByteView data = {});
/// A reply with a text for people: errors.
Bytes encode_option_reply(Option option, OptionReply type, std::string_view message);
/// Text of a string as a message has it; bytes that are not printable ASCII or UTF-8 become "?".
std::string printable(ByteView text);

/// Data of kInfo and kGo.
struct InfoRequest {
  std::string export_name;
  std::vector<Info> wanted;
  bool operator==(const InfoRequest&) const = default;
};
Bytes encode(const InfoRequest& request);
Result<InfoRequest> decode_info_request(ByteView data);

/// Data of kListMetaContext and kSetMetaContext.
struct MetaContextRequest {
  std::string export_name;
  std::vector<std::string> queries;
  bool operator==(const MetaContextRequest&) const = default;
};
/// Most queries that decode_meta_context_request() takes.
inline constexpr size_t kMaxQueries = 1024;
Bytes encode(const MetaContextRequest& request);
Result<MetaContextRequest> decode_meta_context_request(ByteView data);

/// Data of a kMetaContext reply.
struct MetaContext {
  uint32_t id = 0;
  std::string name;
  bool operator==(const MetaContext&) const = default;
};
Bytes encode(const MetaContext& context);
Result<MetaContext> decode_meta_context(ByteView data);

/// Data of a kServer reply.
struct ServerEntry {
  std::string name;
  std::string description;
  bool operator==(const ServerEntry&) const = default;
};
Bytes encode(const ServerEntry& entry);
Result<ServerEntry> decode_server_entry(ByteView data);

/// What an export asks its clients to keep to.
struct BlockSizes {
  uint32_t minimum = 1;
  uint32_t preferred = 4096;
  uint32_t maximum_payload = kDefaultMaxPayload;
  bool operator==(const BlockSizes&) const = default;
};

/// Data of a kInfo reply. Of the members the one that `type` names has a meaning; none of types
/// that this code does not know.
struct InfoReply {
  Info type = Info::kExport;
  ExportSummary summary;
  BlockSizes sizes;
  std::string text;  ///< kName, kDescription
  bool operator==(const InfoReply&) const = default;
};
Bytes encode(const InfoReply& info);
/// Refuses block sizes that contradict themselves: no power of two, or out of order.
Result<InfoReply> decode_info_reply(ByteView data);

}  // namespace ashlar::nbd
