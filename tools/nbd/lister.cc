// The client side of a handshake that looks at every export and enters none.
#include "tools/nbd/lister.h"

#include <fmt/format.h>

#include <array>

#include "ashlar/stream.h"
#include "protocols/nbd_handshake.h"
#include "protocols/nbd_transmission.h"
#include "tools/nbd/socket_text.h"
#include "tools/nbd/tls.h"

namespace ashlar::tools::nbd {
namespace {

using namespace ashlar::nbd;  // NOLINT(google-build-using-namespace): this file speaks the protocol
using ashlar::nbd::Option;    // not the one of option tables

constexpr size_t kMostReplyData = 1 << 20;
constexpr size_t kMostExports = 100'000;
constexpr size_t kMostContexts = 100'000;

/// What is known of one export.
struct Listed {
  std::string name;
  std::string description;
  ExportSummary summary;
  std::optional<BlockSizes> sizes;
  std::vector<std::string> contexts;
};

struct Listing {
  std::vector<Listed> exports;
  Headers headers = Headers::kCompact;
};

struct Reply {
  OptionReply type = OptionReply::kAck;
  Bytes data;
};

/// One connection in the handshake.
class Client {
 public:
  struct Security {
    std::shared_ptr<const TlsCredentials> credentials;  ///< null: none
    std::string hostname;
  };
  Client(std::unique_ptr<Stream> stream, Security security)
      : stream_(std::move(stream)), security_(std::move(security)) {}

  Task<Result<Listing>> list() {
    const Result<Style> style = co_await begin();
    if (!style) co_return fail(style.error());
    if (*style == Style::kOld) co_return co_await list_old_style();
    if (security_.credentials) {
      const Result<void> secured = co_await start_tls();
      if (!secured) co_return fail(secured.error());
    }
    Listing listing;
    Result<bool> agreed = co_await agree(Option::kExtendedHeaders);
    if (agreed && *agreed) listing.headers = Headers::kExtended;
    if (agreed && !*agreed) agreed = co_await agree(Option::kStructuredReply);
    if (!agreed) co_return fail(agreed.error());
    const bool structured = *agreed;
    Result<void> done = co_await list_names(listing);
    for (Listed& each : listing.exports) {
      if (done) done = co_await describe(each);
      if (done && structured) done = co_await list_contexts(each);
    }
    if (!done) co_return fail(done.error());
    (void)co_await send(Option::kAbort, {});
    co_return listing;
  }

 private:
  Task<Result<Style>> begin() {
    std::array<std::byte, kGreetingSize> greeting;
    Result<void> got = co_await read(greeting);
    if (!got) co_return fail(got.error());
    Result<Style> style = decode_greeting(greeting);
    if (!style || *style == Style::kOld) co_return style;
    std::array<std::byte, kHandshakeFlagsSize> flags;
    got = co_await read(flags);
    if (!got) co_return fail(got.error());
    const uint16_t offered = decode_handshake_flags(flags);
    uint32_t wanted = 0;
    if ((offered & handshake_flag::kFixedNewStyle) != 0) wanted |= client_flag::kFixedNewStyle;
    if ((offered & handshake_flag::kNoZeroes) != 0) wanted |= client_flag::kNoZeroes;
    got = co_await write(encode_client_flags(wanted));
    if (!got) co_return fail(got.error());
    co_return style;
  }

  Task<Result<void>> start_tls() {
    const Result<bool> agreed = co_await agree(Option::kStartTls);
    if (!agreed) co_return fail(agreed.error());
    if (!*agreed) co_return fail(ErrorCode::kUnsupported, "Server does not support STARTTLS");
    Result<TlsConnection> secured =
        co_await tls_connect(std::move(stream_), security_.credentials, security_.hostname);
    if (!secured) co_return fail(secured.error());
    stream_ = std::move(secured->stream);
    co_return ok();
  }

  Task<Result<Listing>> list_old_style() {
    std::array<std::byte, kOldStyleSize> rest;
    const Result<void> got = co_await read(rest);
    if (!got) co_return fail(got.error());
    Listing listing;
    listing.exports.emplace_back();
    listing.exports[0].summary = decode_old_style(rest);
    co_return listing;
  }

  /// Whether the server accepts an option that has nothing to say.
  Task<Result<bool>> agree(Option option) {
    const Result<void> sent = co_await send(option, {});
    if (!sent) co_return fail(sent.error());
    const Result<Reply> reply = co_await receive(option);
    if (!reply) co_return fail(reply.error());
    co_return reply->type == OptionReply::kAck;
  }

  Task<Result<void>> list_names(Listing& listing) {
    Result<void> sent = co_await send(Option::kList, {});
    if (!sent) co_return sent;
    while (listing.exports.size() < kMostExports) {
      const Result<Reply> reply = co_await receive(Option::kList);
      if (!reply) co_return fail(reply.error());
      if (reply->type == OptionReply::kAck) co_return ok();
      if (reply->type != OptionReply::kServer) co_return fail(refused(*reply));
      const Result<ServerEntry> entry = decode_server_entry(reply->data);
      if (!entry) co_return fail(entry.error());
      listing.exports.emplace_back();
      listing.exports.back().name = entry->name;
      listing.exports.back().description = entry->description;
    }
    co_return fail(ErrorCode::kTooLarge, "Server has too many exports");
  }

  Task<Result<void>> describe(Listed& each) {
    InfoRequest request;
    request.export_name = each.name;
    request.wanted.push_back(Info::kDescription);
    request.wanted.push_back(Info::kBlockSize);
    Result<void> sent = co_await send(Option::kInfo, encode(request));
    if (!sent) co_return sent;
    while (true) {
      const Result<Reply> reply = co_await receive(Option::kInfo);
      if (!reply) co_return fail(reply.error());
      if (reply->type == OptionReply::kAck) co_return ok();
      if (reply->type != OptionReply::kInfo) co_return fail(refused(*reply));
      const Result<InfoReply> info = decode_info_reply(reply->data);
      if (!info) co_return fail(info.error());
      if (info->type == Info::kExport) each.summary = info->summary;
      if (info->type == Info::kBlockSize) each.sizes = info->sizes;
      if (info->type == Info::kDescription) each.description = info->text;
    }
  }

  Task<Result<void>> list_contexts(Listed& each) {
    MetaContextRequest request;
    request.export_name = each.name;
    Result<void> sent = co_await send(Option::kListMetaContext, encode(request));
    if (!sent) co_return sent;
    while (each.contexts.size() < kMostContexts) {
      const Result<Reply> reply = co_await receive(Option::kListMetaContext);
      if (!reply) co_return fail(reply.error());
      if (reply->type != OptionReply::kMetaContext) co_return ok();
      const Result<MetaContext> context = decode_meta_context(reply->data);
      if (!context) co_return fail(context.error());
      each.contexts.push_back(context->name);
    }
    co_return fail(ErrorCode::kTooLarge, "Server has too many metadata contexts");
  }

  static Error refused(const Reply& reply) {
    std::string why = is_error(reply.type) ? printable(reply.data) : std::string();
    if (why.empty()) why = fmt::format("reply {:#x}", static_cast<uint32_t>(reply.type));
    return Error(ErrorCode::kUnsupported, fmt::format("Server refused to list exports: {}", why));
  }

  Task<Result<void>> read(std::span<std::byte> into) {
    const MutableBuffers buffers(into);
    co_return co_await read_exactly(*stream_, buffers);
  }
  Task<Result<void>> write(Bytes bytes) {
    const ConstBuffers buffers{std::span<const std::byte>(bytes)};
    co_return co_await stream_->write_all(buffers);
  }
  Task<Result<void>> send(Option option, Bytes data) {
    co_return co_await write(encode_option(option, data));
  }
  Task<Result<Reply>> receive(Option option) {
    std::array<std::byte, kOptionReplyHeaderSize> head;
    Result<void> got = co_await read(head);
    if (!got) co_return fail(got.error());
    const Result<OptionReplyHeader> header = decode_option_reply_header(head);
    if (!header) co_return fail(header.error());
    if (header->option != option || header->length > kMostReplyData) {
      co_return fail(ErrorCode::kCorrupt, "Unexpected reply to an option");
    }
    Reply reply;
    reply.type = header->type;
    reply.data.resize(header->length);
    got = co_await read(reply.data);
    if (!got) co_return fail(got.error());
    co_return reply;
  }

  std::unique_ptr<Stream> stream_;
  const Security security_;
};

/// The flags' names, in the order of their bits.
std::string flag_words(uint16_t flags) {
  using namespace transmission_flag;
  struct Row {
    uint16_t flag;
    std::string_view word;
  };
  static constexpr Row kWords[] = {
      {kReadOnly, "readonly"},
      {kFlush, "flush"},
      {kFua, "fua"},
      {kRotational, "rotational"},
      {kTrim, "trim"},
      {kWriteZeroes, "zeroes"},
      {kDontFragment, "df"},
      {kMultiConn, "multi"},
      {kResize, "resize"},
      {kCache, "cache"},
      {kFastZero, "fast-zero"},
      {kBlockStatusPayload, "block-status-payload"},
  };
  std::string words;
  for (const Row& row : kWords) {
    if ((flags & row.flag) != 0) words.append(row.word).append(" ");
  }
  return words;
}

std::string text_of(const Listed& each, Headers headers) {
  std::string text = fmt::format(" export: '{}'\n", each.name);
  if (!each.description.empty()) text += fmt::format("  description: {}\n", each.description);
  text += fmt::format("  size:  {}\n", each.summary.size);
  if ((each.summary.flags & transmission_flag::kHasFlags) != 0) {
    text +=
        fmt::format("  flags: {:#x} ( {})\n", each.summary.flags, flag_words(each.summary.flags));
  }
  if (each.sizes) {
    text += fmt::format("  min block: {}\n  opt block: {}\n  max block: {}\n", each.sizes->minimum,
                        each.sizes->preferred, each.sizes->maximum_payload);
  }
  text += fmt::format("  transaction size: {}-bit\n", headers == Headers::kExtended ? 64 : 32);
  if (!each.contexts.empty()) {
    text += fmt::format("  available meta contexts: {}\n", each.contexts.size());
    for (const std::string& name : each.contexts) text += fmt::format("   {}\n", name);
  }
  return text;
}

Task<Result<Listing>> fetch(std::unique_ptr<Stream> stream, Client::Security security) {
  Client client(std::move(stream), std::move(security));
  co_return co_await client.list();
}

}  // namespace

int list_exports(Session& session, const Settings& settings) {
  Program& program = session.program();
  Client::Security security;
  security.hostname = settings.tls_hostname.empty() ? settings.address.host : settings.tls_hostname;
  if (!settings.tls_credentials.empty()) {
    auto found = tls_of(session, settings, TlsSettings::Endpoint::kClient);
    if (!found) {
      program.error(found.error().message());
      return kFailure;
    }
    security.credentials = std::move(*found);
  }
  Result<std::unique_ptr<Stream>> stream = session.wait(connect_stream(settings.address));
  if (!stream) {
    program.error(connect_error_text(stream.error(), settings.address));
    return kFailure;
  }
  const Result<Listing> listing = session.wait(fetch(std::move(*stream), std::move(security)));
  if (!listing) {
    program.error(listing.error().message());
    return kFailure;
  }
  program.out().write(fmt::format("exports available: {}\n", listing->exports.size()));
  for (const Listed& each : listing->exports) program.out().write(text_of(each, listing->headers));
  return kSuccess;
}

}  // namespace ashlar::tools::nbd
