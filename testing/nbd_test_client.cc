// The client's side of the NBD protocol, for tests.
#include "testing/nbd_test_client.h"

#include <algorithm>
#include <array>

#include "base/endian.h"

namespace ashlar::testing {

using namespace ashlar::nbd;  // NOLINT(google-build-using-namespace): this file speaks the protocol
using ashlar::nbd::Option;    // not the one of option tables

namespace {

std::unexpected<Error> wrong(std::string what) {
  return fail(ErrorCode::kCorrupt, std::move(what));
}

Headers headers_of(NbdDialect dialect) {
  return dialect == NbdDialect::kExtended ? Headers::kExtended : Headers::kCompact;
}

}  // namespace

Request nbd_request(Command command, ByteRange range, uint16_t flags) {
  Request request;
  request.command = command;
  request.offset = range.offset;
  request.length = range.length;
  request.flags = flags;
  return request;
}

Task<Result<void>> NbdTestClient::send(Bytes bytes) {
  const ConstBuffers from{std::span<const std::byte>(bytes)};
  co_return co_await stream_->write_all(from);
}

Task<Result<Bytes>> NbdTestClient::receive(size_t size) {
  Bytes bytes(size);
  const MutableBuffers into{std::span<std::byte>(bytes)};
  const Result<void> done = co_await read_exactly(*stream_, into);
  if (!done) co_return fail(done.error());
  co_return bytes;
}

Task<bool> NbdTestClient::ended() {
  std::array<std::byte, 1> byte;
  const MutableBuffers into{std::span<std::byte>(byte)};
  const Result<size_t> got = co_await stream_->read_some(into);
  co_return !got || *got == 0;
}

Task<Result<void>> NbdTestClient::greet() {
  const Result<Bytes> greeting = co_await receive(kGreetingSize + kHandshakeFlagsSize);
  if (!greeting) co_return fail(greeting.error());
  if (*greeting != encode_greeting(handshake_flag::kFixedNewStyle | handshake_flag::kNoZeroes)) {
    co_return wrong("another greeting");
  }
  co_return co_await send(
      encode_client_flags(client_flag::kFixedNewStyle | client_flag::kNoZeroes));
}

Task<Result<std::vector<NbdOptionReply>>> NbdTestClient::option(Option option, Bytes data) {
  const Result<void> sent = co_await send(encode_option(option, data));
  if (!sent) co_return fail(sent.error());
  std::vector<NbdOptionReply> replies;
  while (true) {
    const Result<Bytes> head = co_await receive(kOptionReplyHeaderSize);
    if (!head) co_return fail(head.error());
    const Result<OptionReplyHeader> header = decode_option_reply_header(
        std::span<const std::byte>(*head).first<kOptionReplyHeaderSize>());
    if (!header) co_return fail(header.error());
    if (header->option != option) co_return wrong("a reply to another option");
    Result<Bytes> body = co_await receive(header->length);
    if (!body) co_return fail(body.error());
    NbdOptionReply reply;
    reply.type = header->type;
    reply.data = std::move(*body);
    replies.push_back(std::move(reply));
    if (header->type == OptionReply::kAck || is_error(header->type)) co_return replies;
  }
}

Task<Result<void>> NbdTestClient::enter(std::string name, NbdDialect dialect,
                                        std::vector<std::string> contexts) {
  Result<void> greeted = co_await greet();
  if (!greeted) co_return greeted;
  dialect_ = dialect;
  if (dialect != NbdDialect::kSimple) {
    const Option wanted =
        dialect == NbdDialect::kExtended ? Option::kExtendedHeaders : Option::kStructuredReply;
    const auto agreed = co_await option(wanted);
    if (!agreed) co_return fail(agreed.error());
    if (agreed->back().type != OptionReply::kAck) co_return wrong("dialect refused");
  }
  if (!contexts.empty()) {
    MetaContextRequest request;
    request.export_name = name;
    request.queries = contexts;
    const auto chosen = co_await option(Option::kSetMetaContext, encode(request));
    if (!chosen) co_return fail(chosen.error());
    for (const NbdOptionReply& reply : *chosen) {
      if (reply.type != OptionReply::kMetaContext) continue;
      const Result<MetaContext> context = decode_meta_context(reply.data);
      if (!context) co_return fail(context.error());
      contexts_.push_back(*context);
    }
  }
  InfoRequest request;
  request.export_name = name;
  const auto entered = co_await option(Option::kGo, encode(request));
  if (!entered) co_return fail(entered.error());
  for (const NbdOptionReply& reply : *entered) {
    if (reply.type != OptionReply::kInfo) continue;
    const Result<InfoReply> info = decode_info_reply(reply.data);
    if (!info) co_return fail(info.error());
    if (info->type == Info::kExport) summary_ = info->summary;
  }
  if (entered->back().type != OptionReply::kAck) co_return wrong("export refused");
  co_return ok();
}

Task<Result<void>> NbdTestClient::send_request(Request request, Bytes payload) {
  UnderWay& entry = under_way_[request.cookie];
  entry.request = request;
  std::array<std::byte, kMaxRequestSize> head;
  encode(request, headers_of(dialect_), head);
  const auto size = static_cast<ptrdiff_t>(request_size(headers_of(dialect_)));
  Bytes bytes(head.begin(), head.begin() + size);
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  co_return co_await send(std::move(bytes));
}

Task<Result<void>> NbdTestClient::take_chunk(const Chunk& chunk, UnderWay& of) {
  const ByteRange asked(of.request.offset, of.request.length);
  NbdAnswer& answer = of.answer;
  ++answer.chunks;
  const Result<Bytes> payload = co_await receive(chunk.length);
  if (!payload) co_return fail(payload.error());
  const std::span<const std::byte> bytes(*payload);
  if (is_error(chunk.type)) {
    const Result<ErrorPayload> error = decode_error(bytes, chunk.type);
    if (!error) co_return fail(error.error());
    answer.error = error->error;
  } else if (chunk.type == ChunkType::kOffsetHole) {
    const Result<ByteRange> hole = decode_hole(bytes);
    if (!hole) co_return fail(hole.error());
    if (!asked.contains(*hole)) co_return wrong("a hole outside");
    answer.data.resize(asked.length);
    answer.hole_bytes += hole->length;
  } else if (chunk.type == ChunkType::kOffsetData) {
    if (bytes.size() <= kDataOffsetSize) co_return wrong("a chunk without data");
    const ByteRange part(load_be<uint64_t>(bytes.data()), bytes.size() - kDataOffsetSize);
    if (!asked.contains(part)) co_return wrong("data outside");
    answer.data.resize(asked.length);
    std::ranges::copy(bytes.subspan(kDataOffsetSize),
                      answer.data.begin() + static_cast<ptrdiff_t>(part.offset - asked.offset));
  } else if (chunk.type != ChunkType::kNone) {
    Result<BlockStatus> status = decode_block_status(bytes, headers_of(dialect_), 1 << 20);
    if (!status) co_return fail(status.error());
    answer.status.push_back(std::move(*status));
  }
  co_return ok();
}

Task<Result<void>> NbdTestClient::take_simple(const SimpleReply& reply, UnderWay& of) {
  of.answer.error = reply.error;
  if (of.request.command != Command::kRead || reply.error != WireError::kNone) co_return ok();
  if (dialect_ != NbdDialect::kSimple) co_return wrong("a simple reply to a read");
  Result<Bytes> data = co_await receive(of.request.length);
  if (!data) co_return fail(data.error());
  of.answer.data = std::move(*data);
  co_return ok();
}

Task<Result<ReplyHeader>> NbdTestClient::receive_header() {
  Result<Bytes> head = co_await receive(kReplyMagicSize);
  if (!head) co_return fail(head.error());
  const Result<size_t> size = reply_header_size(*head, headers_of(dialect_));
  if (!size) co_return fail(size.error());
  const Result<Bytes> rest = co_await receive(*size - kReplyMagicSize);
  if (!rest) co_return fail(rest.error());
  head->insert(head->end(), rest->begin(), rest->end());
  co_return decode_reply_header(*head, headers_of(dialect_));
}

Task<Result<NbdAnswer>> NbdTestClient::receive_answer() {
  while (true) {
    const Result<ReplyHeader> header = co_await receive_header();
    if (!header) co_return fail(header.error());
    const uint64_t cookie = header->simple ? header->simple->cookie : header->chunk->cookie;
    const auto found = under_way_.find(cookie);
    if (found == under_way_.end()) co_return wrong("an answer that nobody asked for");
    const bool last = header->simple || (header->chunk->flags & kChunkDone) != 0;
    Result<void> taken = ok();
    if (header->simple) {
      taken = co_await take_simple(*header->simple, found->second);
    } else {
      taken = co_await take_chunk(*header->chunk, found->second);
    }
    if (!taken) co_return fail(taken.error());
    if (!last) continue;
    NbdAnswer answer = std::move(found->second.answer);
    answer.cookie = cookie;
    under_way_.erase(found);
    co_return answer;
  }
}

Task<Result<NbdAnswer>> NbdTestClient::ask(Request request, Bytes payload) {
  const Result<void> sent = co_await send_request(request, std::move(payload));
  if (!sent) co_return fail(sent.error());
  co_return co_await receive_answer();
}

}  // namespace ashlar::testing
