// Messages of the NBD handshake.
#include "protocols/nbd_handshake.h"

#include "base/checked.h"
#include "protocols/nbd_wire.h"

namespace ashlar::nbd {

using wire::malformed;
using wire::Reader;
using wire::Writer;

namespace {

Result<std::string> text_of(ByteView data, const char* what) {
  if (data.size() > kMaxString) {
    return malformed(
        fmt::format("{} has {} bytes, at most {} are allowed", what, data.size(), kMaxString));
  }
  return std::string(reinterpret_cast<const char*>(data.data()), data.size());
}

Result<BlockSizes> checked_sizes(BlockSizes sizes) {
  const bool in_order =
      sizes.minimum <= sizes.preferred &&
      (sizes.maximum_payload >= sizes.minimum || sizes.maximum_payload == kDefaultMaxPayload);
  if (!is_power_of_two(sizes.minimum) || sizes.minimum > 64_KiB || !in_order) {
    return malformed(
        fmt::format("block sizes are {}, {} and {} bytes: the smallest is a power of "
                    "two up to 64 KiB, and they ascend",
                    sizes.minimum, sizes.preferred, sizes.maximum_payload));
  }
  return sizes;
}

}  // namespace

Result<Style> decode_greeting(ByteView bytes) {
  Reader reader(bytes);
  const auto init = reader.number<uint64_t>();
  const auto style = reader.number<uint64_t>();
  if (!reader.exact() || init != kInitMagic) {
    return malformed(fmt::format("greeting starts with {:#x}, not {:#x}", init, kInitMagic));
  }
  if (style == kOptionMagic) return Style::kNew;
  if (style == kOldStyleMagic) return Style::kOld;
  return malformed(fmt::format("greeting has magic {:#x}, not {:#x}", style, kOptionMagic));
}

Bytes encode_greeting(uint16_t handshake_flags) {
  return Writer().number(kInitMagic).number(kOptionMagic).number(handshake_flags).take();
}

uint16_t decode_handshake_flags(std::span<const std::byte, kHandshakeFlagsSize> bytes) {
  return load_be<uint16_t>(bytes.data());
}

Bytes encode_client_flags(uint32_t flags) { return Writer().number(flags).take(); }

uint32_t decode_client_flags(std::span<const std::byte, kClientFlagsSize> bytes) {
  return load_be<uint32_t>(bytes.data());
}

ExportSummary decode_old_style(std::span<const std::byte, kOldStyleSize> bytes) {
  // The upper half of the flags is for the handshake.
  return {.size = load_be<uint64_t>(bytes.data()),
          .flags = static_cast<uint16_t>(load_be<uint32_t>(bytes.data() + 8))};
}

Bytes encode_old_style(const ExportSummary& summary) {
  Writer writer;
  writer.number(kInitMagic).number(kOldStyleMagic).number(summary.size);
  return writer.number(uint32_t{summary.flags}).zeroes(kReservedZeroes).take();
}

Bytes encode_export_name_reply(const ExportSummary& summary) {
  return Writer().number(summary.size).number(summary.flags).take();
}

ExportSummary decode_export_name_reply(std::span<const std::byte, kExportNameReplySize> bytes) {
  return {.size = load_be<uint64_t>(bytes.data()), .flags = load_be<uint16_t>(bytes.data() + 8)};
}

Result<OptionHeader> decode_option_header(std::span<const std::byte, kOptionHeaderSize> bytes) {
  Reader reader(bytes);
  const auto magic = reader.number<uint64_t>();
  if (magic != kOptionMagic) {
    return malformed(fmt::format("option has magic {:#x}, not {:#x}", magic, kOptionMagic));
  }
  OptionHeader header;
  header.option = reader.value<Option>();
  header.length = reader.number<uint32_t>();
  return header;
}

Bytes encode_option(Option option, ByteView data) {
  Writer writer;
  writer.number(kOptionMagic).number(static_cast<uint32_t>(option));
  return writer.number(static_cast<uint32_t>(data.size())).raw(data).take();
}

Result<OptionReplyHeader> decode_option_reply_header(
    std::span<const std::byte, kOptionReplyHeaderSize> bytes) {
  Reader reader(bytes);
  const auto magic = reader.number<uint64_t>();
  if (magic != kOptionReplyMagic) {
    return malformed(
        fmt::format("reply to an option has magic {:#x}, not {:#x}", magic, kOptionReplyMagic));
  }
  OptionReplyHeader header;
  header.option = reader.value<Option>();
  header.type = reader.value<OptionReply>();
  header.length = reader.number<uint32_t>();
  return header;
}

Bytes encode_option_reply(Option option, OptionReply type, ByteView data) {
  Writer writer;
  writer.number(kOptionReplyMagic).number(static_cast<uint32_t>(option));
  writer.number(static_cast<uint32_t>(type)).number(static_cast<uint32_t>(data.size()));
  return writer.raw(data).take();
}

Bytes encode_option_reply(Option option, OptionReply type, std::string_view message) {
  return encode_option_reply(option, type,
                             std::as_bytes(std::span(message.data(), message.size())));
}

std::string printable(ByteView text) {
  std::string result;
  for (const std::byte byte : text.first(std::min(text.size(), kMaxString))) {
    const auto letter = static_cast<unsigned char>(byte);
    result.push_back(letter < 0x20 || letter == 0x7f ? '?' : static_cast<char>(letter));
  }
  return result;
}

Bytes encode(const InfoRequest& request) {
  Writer writer;
  writer.counted_string(request.export_name);
  writer.number(static_cast<uint16_t>(request.wanted.size()));
  for (const Info info : request.wanted) writer.number(static_cast<uint16_t>(info));
  return writer.take();
}

Result<InfoRequest> decode_info_request(ByteView data) {
  Reader reader(data);
  InfoRequest request;
  request.export_name = reader.counted_string();
  const auto count = reader.number<uint16_t>();
  if (!reader.complete() || reader.left() != size_t{count} * 2) {
    return malformed(fmt::format("{} bytes of data are no name of an export and {} numbers",
                                 data.size(), count));
  }
  for (unsigned index = 0; index < count; ++index) {
    request.wanted.push_back(reader.value<Info>());
  }
  return request;
}

Bytes encode(const MetaContextRequest& request) {
  Writer writer;
  writer.counted_string(request.export_name);
  writer.number(static_cast<uint32_t>(request.queries.size()));
  for (const std::string& query : request.queries) writer.counted_string(query);
  return writer.take();
}

Result<MetaContextRequest> decode_meta_context_request(ByteView data) {
  Reader reader(data);
  MetaContextRequest request;
  request.export_name = reader.counted_string();
  const auto count = reader.number<uint32_t>();
  if (count > kMaxQueries) {
    return malformed(fmt::format("{} queries, at most {} are allowed", count, kMaxQueries));
  }
  for (uint32_t index = 0; index < count && reader.complete(); ++index) {
    request.queries.push_back(reader.counted_string());
  }
  if (!reader.exact()) {
    return malformed(fmt::format("{} bytes of data are no name of an export and {} queries",
                                 data.size(), count));
  }
  return request;
}

Bytes encode(const MetaContext& context) {
  return Writer().number(context.id).string(context.name).take();
}

Result<MetaContext> decode_meta_context(ByteView data) {
  if (data.size() < 4) {
    return malformed(fmt::format("context has {} bytes, at least 4 are needed", data.size()));
  }
  Result<std::string> name = text_of(data.subspan(4), "name of a context");
  if (!name) return fail(name.error());
  return MetaContext{.id = load_be<uint32_t>(data.data()), .name = std::move(*name)};
}

Bytes encode(const ServerEntry& entry) {
  return Writer().counted_string(entry.name).string(entry.description).take();
}

Result<ServerEntry> decode_server_entry(ByteView data) {
  Reader reader(data);
  ServerEntry entry;
  entry.name = reader.counted_string();
  entry.description = reader.string(reader.left());
  if (!reader.exact()) {
    return malformed(fmt::format("{} bytes of data are no name of an export", data.size()));
  }
  return entry;
}

Bytes encode(const InfoReply& info) {
  Writer writer;
  writer.number(static_cast<uint16_t>(info.type));
  switch (info.type) {
    case Info::kExport:
      writer.number(info.summary.size).number(info.summary.flags);
      break;
    case Info::kName:
    case Info::kDescription:
      writer.string(info.text);
      break;
    case Info::kBlockSize:
      writer.number(info.sizes.minimum).number(info.sizes.preferred);
      writer.number(info.sizes.maximum_payload);
      break;
  }
  return writer.take();
}

Result<InfoReply> decode_info_reply(ByteView data) {
  Reader reader(data);
  InfoReply info;
  info.type = reader.value<Info>();
  switch (info.type) {
    case Info::kExport:
      info.summary.size = reader.number<uint64_t>();
      info.summary.flags = reader.number<uint16_t>();
      break;
    case Info::kName:
    case Info::kDescription:
      info.text = reader.string(reader.left());
      break;
    case Info::kBlockSize: {
      info.sizes.minimum = reader.number<uint32_t>();
      info.sizes.preferred = reader.number<uint32_t>();
      info.sizes.maximum_payload = reader.number<uint32_t>();
      Result<BlockSizes> sizes = checked_sizes(info.sizes);
      if (!sizes && reader.exact()) return fail(sizes.error());
      break;
    }
    default:  // later additions to the protocol
      return info;
  }
  if (!reader.exact()) {
    return malformed(fmt::format("information {} about an export has {} bytes",
                                 static_cast<unsigned>(info.type), data.size()));
  }
  return info;
}

}  // namespace ashlar::nbd
