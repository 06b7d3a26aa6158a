// Option haggling: the newest way that the server knows, down to the oldest.
#include "drivers/nbd/handshake.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace ashlar::nbd::client {
namespace {

std::unexpected<Error> malformed(std::string what) {
  return fail(Error(ErrorCode::kCorrupt, std::move(what)).because("nbd-malformed"));
}

/// A reply to an option, with its data.
struct Reply {
  OptionReply type = OptionReply::kAck;
  Bytes data;
};

std::string_view name_of(Option option) {
  switch (option) {
    case Option::kStartTls:
      return "start TLS";
    case Option::kStructuredReply:
      return "use structured replies";
    case Option::kExtendedHeaders:
      return "use extended headers";
    case Option::kSetMetaContext:
      return "choose a metadata context";
    case Option::kGo:
      return "open the export";
    default:
      return "negotiate";
  }
}

/// One handshake.
class Handshake {
 public:
  Handshake(std::unique_ptr<Stream> stream, Wishes wishes)
      : stream_(std::move(stream)), wishes_(std::move(wishes)) {}

  Task<Result<Established>> run() {
    Result<void> done = co_await greet();
    if (done && style_ == Style::kOld) done = co_await old_style();
    if (done && style_ == Style::kNew) done = co_await new_style();
    if (!done && may_abort_ && stream_) (void)co_await send(encode_option(Option::kAbort));
    if (!done) co_return fail(done.error());
    Established established;
    established.stream = std::move(stream_);
    established.agreement = agreed_;
    co_return std::move(established);
  }

 private:
  Task<Result<void>> receive(std::span<std::byte> into) {
    const MutableBuffers buffers(into);
    co_return co_await read_exactly(*stream_, buffers);
  }
  Task<Result<void>> send(Bytes bytes) {
    const ConstBuffers buffers(bytes.data(), bytes.size());
    co_return co_await stream_->write_all(buffers);
  }

  Task<Result<void>> greet() {
    std::array<std::byte, kGreetingSize> greeting;
    Result<void> got = co_await receive(greeting);
    if (!got) co_return got;
    Result<Style> style = decode_greeting(greeting);
    if (!style) co_return fail(style.error());
    style_ = *style;
    co_return ok();
  }

  Task<Result<void>> old_style() {
    if (wishes_.tls) {
      co_return fail(Error(ErrorCode::kPermission, "server of the old style knows no TLS")
                         .because("nbd-tls-refused"));
    }
    if (!wishes_.export_name.empty()) co_return fail(no_export("it is of the old style"));
    std::array<std::byte, kOldStyleSize> summary;
    Result<void> got = co_await receive(summary);
    if (!got) co_return got;
    agreed_.summary = decode_old_style(summary);
    co_return check_context();
  }

  Task<Result<void>> new_style() {
    std::array<std::byte, kHandshakeFlagsSize> flag_bytes;
    Result<void> done = co_await receive(flag_bytes);
    if (!done) co_return done;
    const uint16_t flags = decode_handshake_flags(flag_bytes);
    const bool fixed = (flags & handshake_flag::kFixedNewStyle) != 0;
    no_zeroes_ = (flags & handshake_flag::kNoZeroes) != 0;
    done = co_await send(encode_client_flags((fixed ? client_flag::kFixedNewStyle : 0U) |
                                             (no_zeroes_ ? client_flag::kNoZeroes : 0U)));
    if (!done) co_return done;
    if (wishes_.tls) {
      if (!fixed) co_return fail(tls_refused("it knows no options"));
      done = co_await start_tls();
      if (!done) co_return done;
    }
    may_abort_ = fixed;
    if (!fixed) co_return co_await by_export_name();
    done = co_await choose_replies();
    if (done && agreed_.structured) done = co_await choose_context();
    if (done) done = check_context();
    if (!done) co_return done;
    co_return co_await go();
  }

  Task<Result<void>> start_tls() {
    Result<Reply> reply = co_await ask(Option::kStartTls, Bytes());
    if (!reply) co_return fail(reply.error());
    if (reply->type != OptionReply::kAck) co_return fail(tls_refused(printable(reply->data)));
    Result<TlsConnection> connection =
        co_await tls_connect(std::move(stream_), wishes_.tls, wishes_.tls_hostname);
    if (!connection) co_return fail(connection.error());
    stream_ = std::move(connection->stream);
    co_return ok();
  }

  Task<Result<void>> choose_replies() {
    if (wishes_.structured_replies && wishes_.extended_headers) {
      Result<bool> extended = co_await offer(Option::kExtendedHeaders);
      if (!extended) co_return fail(extended.error());
      if (*extended) {
        agreed_.headers = Headers::kExtended;
        agreed_.structured = true;
        co_return ok();
      }
    }
    if (!wishes_.structured_replies) co_return ok();
    Result<bool> structured = co_await offer(Option::kStructuredReply);
    if (!structured) co_return fail(structured.error());
    agreed_.structured = *structured;
    co_return ok();
  }

  /// Whether the server agrees to an option without data.
  Task<Result<bool>> offer(Option option) {
    Result<Reply> reply = co_await ask(option, Bytes());
    if (!reply) co_return fail(reply.error());
    if (reply->type == OptionReply::kAck) co_return true;
    // A server that insists on TLS answers so to everything: better said now than later.
    if (reply->type == OptionReply::kErrorTlsRequired) co_return fail(refused(option, *reply));
    if (is_error(reply->type)) co_return false;
    co_return unexpected(option, reply->type);
  }

  Task<Result<void>> choose_context() {
    const std::string wanted =
        wishes_.context.empty() ? std::string(kAllocationContext) : wishes_.context;
    MetaContextRequest request;
    request.export_name = wishes_.export_name;
    request.queries.push_back(wanted);
    Result<void> sent = co_await send(encode_option(Option::kSetMetaContext, encode(request)));
    if (!sent) co_return sent;
    for (unsigned count = 0; count < kMaxReplies; ++count) {
      Result<Reply> reply = co_await next_reply(Option::kSetMetaContext);
      if (!reply) co_return fail(reply.error());
      if (reply->type == OptionReply::kAck) co_return ok();
      if (reply->type == OptionReply::kErrorTlsRequired ||
          reply->type == OptionReply::kErrorUnknown) {
        co_return fail(refused(Option::kSetMetaContext, *reply));
      }
      if (is_error(reply->type)) co_return ok();  // it goes without
      if (reply->type != OptionReply::kMetaContext) {
        co_return unexpected(Option::kSetMetaContext, reply->type);
      }
      Result<MetaContext> context = decode_meta_context(reply->data);
      if (!context) co_return fail(context.error());
      if (context->name != wanted || agreed_.context) {
        co_return malformed(fmt::format("server chose context \"{}\", asked for was \"{}\" alone",
                                        printable(std::as_bytes(std::span(context->name))),
                                        wanted));
      }
      agreed_.context = context->id;
    }
    co_return too_many(Option::kSetMetaContext);
  }

  Result<void> check_context() const {
    if (wishes_.context.empty() || agreed_.context) return ok();
    return fail(Error(ErrorCode::kUnsupported,
                      fmt::format("server has no metadata context \"{}\"", wishes_.context))
                    .because("nbd-context", {wishes_.context}));
  }

  Task<Result<void>> go() {
    InfoRequest request;
    request.export_name = wishes_.export_name;
    request.wanted.push_back(Info::kBlockSize);
    Result<void> sent = co_await send(encode_option(Option::kGo, encode(request)));
    if (!sent) co_return sent;
    bool told = false;
    for (unsigned count = 0; count < kMaxReplies; ++count) {
      Result<Reply> reply = co_await next_reply(Option::kGo);
      if (!reply) co_return fail(reply.error());
      if (reply->type == OptionReply::kAck) {
        if (told) co_return ok();
        co_return malformed("server opened the export without saying its size");
      }
      if (reply->type == OptionReply::kErrorUnsupported) co_return co_await by_export_name();
      if (is_error(reply->type)) co_return fail(refused(Option::kGo, *reply));
      if (reply->type != OptionReply::kInfo) co_return unexpected(Option::kGo, reply->type);
      Result<InfoReply> info = decode_info_reply(reply->data);
      if (!info) co_return fail(info.error());
      if (info->type == Info::kExport) {
        agreed_.summary = info->summary;
        told = true;
      } else if (info->type == Info::kBlockSize) {
        agreed_.sizes = info->sizes;
      }
    }
    co_return too_many(Option::kGo);
  }

  /// The oldest way of all, without a way to say no.
  Task<Result<void>> by_export_name() {
    may_abort_ = false;
    const auto name = std::as_bytes(std::span(wishes_.export_name));
    Result<void> done = co_await send(encode_option(Option::kExportName, name));
    if (!done) co_return done;
    std::array<std::byte, kExportNameReplySize> summary;
    done = co_await receive(summary);
    if (!done && done.error().code() == ErrorCode::kClosed) {
      co_return fail(no_export("it closed the connection"));
    }
    if (!done) co_return done;
    agreed_.summary = decode_export_name_reply(summary);
    if (!no_zeroes_) {
      std::array<std::byte, kReservedZeroes> zeroes;
      done = co_await receive(zeroes);
      if (!done) co_return done;
    }
    co_return check_context();
  }

  /// Sends an option that has one reply.
  Task<Result<Reply>> ask(Option option, Bytes data) {
    Result<void> sent = co_await send(encode_option(option, data));
    if (!sent) co_return fail(sent.error());
    co_return co_await next_reply(option);
  }

  Task<Result<Reply>> next_reply(Option option) {
    std::array<std::byte, kOptionReplyHeaderSize> bytes;
    Result<void> got = co_await receive(bytes);
    if (!got) co_return fail(got.error());
    Result<OptionReplyHeader> header = decode_option_reply_header(bytes);
    if (!header) co_return fail(header.error());
    if (header->option != option) {
      co_return malformed(fmt::format("reply is to option {}, sent was {}",
                                      static_cast<uint32_t>(header->option),
                                      static_cast<uint32_t>(option)));
    }
    if (header->length > kMaxReplyData) {
      co_return malformed(fmt::format("reply to an option has {} bytes, at most {} are allowed",
                                      header->length, kMaxReplyData));
    }
    Reply reply;
    reply.type = header->type;
    reply.data.resize(header->length);
    got = co_await receive(reply.data);
    if (!got) co_return fail(got.error());
    co_return std::move(reply);
  }

  Error no_export(std::string_view why) const {
    return Error(ErrorCode::kNotFound,
                 fmt::format("server has no export \"{}\": {}", wishes_.export_name, why))
        .because("nbd-export", {wishes_.export_name, reported(why)});
  }
  /// The server's own words, as a second line of a message.
  static std::string reported(std::string_view message) {
    return message.empty() ? std::string() : fmt::format("\nserver reported: {}", message);
  }
  static Error tls_refused(std::string_view why) {
    return Error(ErrorCode::kPermission, fmt::format("server refuses TLS: {}", why))
        .because("nbd-tls-refused");
  }
  Error refused(Option option, const Reply& reply) const {
    const std::string message = printable(reply.data);
    if (reply.type == OptionReply::kErrorUnknown) return no_export(message);
    if (reply.type == OptionReply::kErrorTlsRequired) {
      return Error(ErrorCode::kPermission,
                   fmt::format("server wants TLS, and no credentials were given{}{}",
                               message.empty() ? "" : ": ", message))
          .because("nbd-tls-required", {"", reported(message)});
    }
    const bool policy = reply.type == OptionReply::kErrorPolicy;
    return Error(
               policy ? ErrorCode::kPermission : ErrorCode::kIo,
               fmt::format("server refuses to {}, error {:#x}{}{}", name_of(option),
                           static_cast<uint32_t>(reply.type), message.empty() ? "" : ": ", message))
        .because("nbd-refused", {message});
  }
  static std::unexpected<Error> unexpected(Option option, OptionReply type) {
    return malformed(fmt::format("reply {:#x} to the request to {}", static_cast<uint32_t>(type),
                                 name_of(option)));
  }
  static std::unexpected<Error> too_many(Option option) {
    return malformed(
        fmt::format("more than {} replies to the request to {}", kMaxReplies, name_of(option)));
  }

  std::unique_ptr<Stream> stream_;
  const Wishes wishes_;
  Agreement agreed_;
  Style style_ = Style::kNew;
  bool no_zeroes_ = false;
  bool may_abort_ = false;  // the server expects options
};

}  // namespace

Task<Result<Established>> shake_hands(std::unique_ptr<Stream> stream, Wishes wishes) {
  const std::string peer = stream->peer();
  Handshake handshake(std::move(stream), std::move(wishes));
  Result<Established> established = co_await handshake.run();
  if (!established) co_return fail(established.error().within("negotiate with NBD server", peer));
  co_return std::move(established);
}

}  // namespace ashlar::nbd::client
