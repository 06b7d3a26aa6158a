// The claims of the messages of the NBD protocol: round trips, and refusals of what is malformed.
#include "protocols/nbd.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "protocols/nbd_handshake.h"
#include "protocols/nbd_transmission.h"

namespace ashlar::nbd {
namespace {

/// Every beginning of `message` but all of it is refused, and so is it with a byte more.
template <typename Decode>
void expect_exact(const Bytes& message, Decode decode) {
  ASSERT_TRUE(decode(ByteView(message)));
  for (size_t size = 0; size < message.size(); ++size) {
    const auto decoded = decode(ByteView(message).first(size));
    ASSERT_FALSE(decoded) << size;
    EXPECT_EQ(decoded.error().reason(), "nbd-malformed");
    EXPECT_EQ(decoded.error().code(), ErrorCode::kCorrupt);
  }
  Bytes longer = message;
  longer.push_back(std::byte{1});
  EXPECT_FALSE(decode(ByteView(longer)));
}

TEST(NbdHandshake, GreetingsSayTheirStyle) {
  const Bytes modern = encode_greeting(handshake_flag::kFixedNewStyle | handshake_flag::kNoZeroes);
  ASSERT_EQ(modern.size(), kGreetingSize + kHandshakeFlagsSize);
  EXPECT_EQ(decode_greeting(ByteView(modern).first(kGreetingSize)), Style::kNew);
  EXPECT_EQ(decode_handshake_flags(ByteView(modern).last<kHandshakeFlagsSize>()), 3);
  const ExportSummary summary = {.size = 5_GiB, .flags = transmission_flag::kHasFlags};
  const Bytes old = encode_old_style(summary);
  ASSERT_EQ(old.size(), kGreetingSize + kOldStyleSize);
  EXPECT_EQ(decode_greeting(ByteView(old).first(kGreetingSize)), Style::kOld);
  EXPECT_EQ(decode_old_style(ByteView(old).last<kOldStyleSize>()), summary);
  expect_exact(Bytes(modern.begin(), modern.begin() + kGreetingSize),
               [](ByteView bytes) { return decode_greeting(bytes); });
  Bytes wrong = modern;
  for (const size_t at : {0, 8}) {
    wrong[at] ^= std::byte{1};
    EXPECT_FALSE(decode_greeting(ByteView(wrong).first(kGreetingSize)));
    wrong[at] ^= std::byte{1};
  }
  EXPECT_EQ(decode_client_flags(ByteView(encode_client_flags(3)).first<4>()), 3U);
}

TEST(NbdHandshake, OptionsAndRepliesRoundTrip) {
  const Bytes data(5, std::byte{7});
  const Bytes option = encode_option(Option::kGo, data);
  ASSERT_EQ(option.size(), kOptionHeaderSize + 5);
  const auto header = decode_option_header(ByteView(option).first<kOptionHeaderSize>());
  ASSERT_TRUE(header);
  EXPECT_EQ(header->option, Option::kGo);
  EXPECT_EQ(header->length, 5U);
  Bytes reply = encode_option_reply(Option::kGo, OptionReply::kErrorPolicy, "no");
  const auto answer = decode_option_reply_header(ByteView(reply).first<kOptionReplyHeaderSize>());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->option, Option::kGo);
  EXPECT_EQ(answer->type, OptionReply::kErrorPolicy);
  EXPECT_TRUE(is_error(answer->type));
  EXPECT_FALSE(is_error(OptionReply::kMetaContext));
  EXPECT_EQ(printable(ByteView(reply).subspan(kOptionReplyHeaderSize)), "no");
  reply[3] ^= std::byte{1};
  EXPECT_FALSE(decode_option_reply_header(ByteView(reply).first<kOptionReplyHeaderSize>()));
  Bytes broken = option;
  broken[0] ^= std::byte{1};
  EXPECT_FALSE(decode_option_header(ByteView(broken).first<kOptionHeaderSize>()));
}

TEST(NbdHandshake, TextsOfOthersArePrintable) {
  const char text[] = {'a', '\n', '\x1b', '\x7f', 'b'};
  EXPECT_EQ(printable(std::as_bytes(std::span(text))), "a???b");
  const Bytes longer(kMaxString + 1, std::byte{'x'});
  EXPECT_EQ(printable(longer).size(), kMaxString);
}

TEST(NbdHandshake, DataOfOptionsRoundTrips) {
  const InfoRequest info = {.export_name = "disk", .wanted = {Info::kBlockSize, Info::kName}};
  EXPECT_EQ(decode_info_request(encode(info)), info);
  expect_exact(encode(info), decode_info_request);
  const MetaContextRequest contexts = {.export_name = "", .queries = {"base:", "", "x:y"}};
  EXPECT_EQ(decode_meta_context_request(encode(contexts)), contexts);
  expect_exact(encode(contexts), decode_meta_context_request);
  const MetaContext context = {.id = 0xffffffff, .name = "base:allocation"};
  EXPECT_EQ(decode_meta_context(encode(context)), context);
  EXPECT_FALSE(decode_meta_context(ByteView(encode(context)).first(3)));
  const ServerEntry entry = {.name = "a", .description = "first disk"};
  EXPECT_EQ(decode_server_entry(encode(entry)), entry);
  EXPECT_FALSE(decode_server_entry(ByteView(encode(entry)).first(4)));
}

TEST(NbdHandshake, InformationRoundTrips) {
  InfoReply summary;
  summary.summary = {.size = 1_TiB, .flags = 0x0fff};
  EXPECT_EQ(decode_info_reply(encode(summary)), summary);
  expect_exact(encode(summary), decode_info_reply);
  InfoReply sizes;
  sizes.type = Info::kBlockSize;
  sizes.sizes = {.minimum = 512, .preferred = 65536, .maximum_payload = 1 << 20};
  EXPECT_EQ(decode_info_reply(encode(sizes)), sizes);
  expect_exact(encode(sizes), decode_info_reply);
  InfoReply text;
  text.type = Info::kDescription;
  text.text = "a disk";
  EXPECT_EQ(decode_info_reply(encode(text)), text);
  InfoReply later;
  later.type = Info(77);
  EXPECT_EQ(decode_info_reply(encode(later)), later);
}

TEST(NbdHandshake, RefusesBlockSizesThatContradictThemselves) {
  const BlockSizes cases[] = {{0, 4096, 1 << 20},
                              {3, 4096, 1 << 20},
                              {1 << 17, 1 << 17, 1 << 20},
                              {4096, 512, 1 << 20},
                              {4096, 4096, 1024}};
  for (const BlockSizes& sizes : cases) {
    InfoReply reply;
    reply.type = Info::kBlockSize;
    reply.sizes = sizes;
    EXPECT_FALSE(decode_info_reply(encode(reply))) << sizes.minimum << " " << sizes.preferred;
  }
}

TEST(NbdHandshake, RefusesStringsAndCountsBeyondTheLimits) {
  MetaContextRequest contexts;
  contexts.export_name.assign(kMaxString, 'x');
  EXPECT_TRUE(decode_meta_context_request(encode(contexts)));
  contexts.export_name += 'x';
  EXPECT_FALSE(decode_meta_context_request(encode(contexts)));
  contexts.export_name.clear();
  contexts.queries.assign(kMaxQueries, "q");
  EXPECT_TRUE(decode_meta_context_request(encode(contexts)));
  contexts.queries.emplace_back("q");
  EXPECT_FALSE(decode_meta_context_request(encode(contexts)));
  EXPECT_FALSE(decode_meta_context(encode(MetaContext{1, std::string(kMaxString + 1, 'n')})));
}

class NbdTransmission : public testing::TestWithParam<Headers> {};
INSTANTIATE_TEST_SUITE_P(Headers, NbdTransmission,
                         testing::Values(Headers::kCompact, Headers::kExtended),
                         [](const auto& info) {
                           return info.param == Headers::kCompact ? "Compact" : "Extended";
                         });

TEST_P(NbdTransmission, RequestsRoundTrip) {
  const bool compact = GetParam() == Headers::kCompact;
  const Request request = {.flags = command_flag::kFua,
                           .command = Command::kWriteZeroes,
                           .cookie = 0x0123456789abcdef,
                           .offset = uint64_t{1} << 62,
                           .length = compact ? 0xffffffff : uint64_t{1} << 40};
  Bytes bytes(kMaxRequestSize);
  encode(request, GetParam(), std::span(bytes).first<kMaxRequestSize>());
  bytes.resize(request_size(GetParam()));
  EXPECT_EQ(decode_request(bytes, GetParam()), request);
  expect_exact(bytes, [](ByteView from) { return decode_request(from, GetParam()); });
  EXPECT_FALSE(decode_request(bytes, compact ? Headers::kExtended : Headers::kCompact));
}

TEST_P(NbdTransmission, ChunksRoundTrip) {
  const bool compact = GetParam() == Headers::kCompact;
  const Chunk chunk = {.flags = kChunkDone,
                       .type = ChunkType::kOffsetData,
                       .cookie = 77,
                       .offset = compact ? 0 : uint64_t{1} << 33,
                       .length = compact ? 0xffffffff : uint64_t{1} << 33};
  Bytes bytes(kMaxReplySize);
  encode(chunk, GetParam(), std::span(bytes).first<kMaxReplySize>());
  bytes.resize(chunk_size(GetParam()));
  const auto header = decode_reply_header(bytes, GetParam());
  ASSERT_TRUE(header);
  EXPECT_EQ(header->chunk, chunk);
  EXPECT_FALSE(header->simple);
  expect_exact(bytes, [](ByteView from) { return decode_reply_header(from, GetParam()); });
}

TEST(NbdTransmission, SimpleRepliesRoundTripButNotWithExtendedHeaders) {
  const SimpleReply reply = {.error = WireError::kNoSpace, .cookie = 5};
  Bytes bytes(kSimpleReplySize);
  encode(reply, std::span(bytes).first<kSimpleReplySize>());
  const auto header = decode_reply_header(bytes, Headers::kCompact);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->simple, reply);
  EXPECT_FALSE(header->chunk);
  EXPECT_FALSE(decode_reply_header(bytes, Headers::kExtended));
}

TEST(NbdTransmission, HolesRoundTripAndNeverWrap) {
  const auto hole = encode_hole({4096, 0xffffffff});
  EXPECT_EQ(decode_hole(hole), ByteRange(4096, 0xffffffff));
  expect_exact(Bytes(hole.begin(), hole.end()), decode_hole);
  EXPECT_FALSE(decode_hole(encode_hole({4096, 0})));
  EXPECT_FALSE(decode_hole(encode_hole({UINT64_MAX - 10, 11})));
}

TEST(NbdTransmission, ErrorsRoundTrip) {
  const ErrorPayload plain = {.error = WireError::kIo, .message = "broken", .offset = {}};
  EXPECT_EQ(decode_error(encode(plain), ChunkType::kError), plain);
  expect_exact(encode(plain), [](ByteView from) { return decode_error(from, ChunkType::kError); });
  const ErrorPayload at = {.error = WireError::kInvalid, .message = "", .offset = 4096};
  EXPECT_EQ(decode_error(encode(at), ChunkType::kErrorOffset), at);
  const ErrorPayload later = {.error = WireError(9999), .message = "new", .offset = 1};
  const auto common = decode_error(encode(later), ChunkType(0x8077));
  ASSERT_TRUE(common);
  EXPECT_EQ(common->message, "new");
  const ErrorPayload none = {.error = WireError::kNone, .message = "", .offset = {}};
  EXPECT_FALSE(decode_error(encode(none), ChunkType::kError));
  EXPECT_TRUE(is_error(ChunkType(0x8077)));
  EXPECT_FALSE(is_error(ChunkType::kBlockStatusExtended));
}

TEST_P(NbdTransmission, BlockStatusRoundTripsUpToAsMuchAsIsWanted) {
  const BlockStatus status = {
      .context = 3, .extents = {{4096, kStateHole | kStateZero}, {0xffffffff, 0}, {1, 2}}};
  const Bytes bytes = encode(status, GetParam());
  EXPECT_EQ(bytes.size(), block_status_size(3, GetParam()));
  EXPECT_EQ(decode_block_status(bytes, GetParam(), 3), status);
  const auto some = decode_block_status(bytes, GetParam(), 1);
  ASSERT_TRUE(some);
  EXPECT_EQ(some->extents.size(), 1U);
  const BlockStatus empty_extent = {.context = 3, .extents = {{0, 1}}};
  EXPECT_FALSE(decode_block_status(encode(empty_extent, GetParam()), GetParam(), 3));
  const BlockStatus nothing = {.context = 3, .extents = {}};
  EXPECT_FALSE(decode_block_status(encode(nothing, GetParam()), GetParam(), 3));
  EXPECT_FALSE(decode_block_status(ByteView(bytes).first(bytes.size() - 1), GetParam(), 3));
}

TEST(NbdTransmission, ChoicesOfContextsRoundTrip) {
  const BlockStatusFilter filter = {.effect_length = 1_TiB, .contexts = {1, 7}};
  EXPECT_EQ(decode_block_status_filter(encode(filter)), filter);
  EXPECT_FALSE(decode_block_status_filter(ByteView(encode(filter)).first(15)));
}

TEST(NbdErrors, KeepTheirMeaningOnTheWayThere) {
  for (const WireError error :
       {WireError::kPermission, WireError::kIo, WireError::kNoMemory, WireError::kInvalid,
        WireError::kNoSpace, WireError::kUnsupported, WireError::kShutdown}) {
    EXPECT_EQ(to_wire(from_wire(error, "read")), error);
  }
  EXPECT_EQ(to_wire(Error::from_errno(EOVERFLOW, "read")), WireError::kOverflow);
  EXPECT_EQ(from_wire(WireError(12345), "read").code(), ErrorCode::kIo);
  const Error told = from_wire(WireError::kNoSpace, "write 512 bytes", "quota");
  EXPECT_EQ(told.message(),
            "write 512 bytes: server answered with error 28, no space left on device: \"quota\"");
  EXPECT_EQ(told.reason(), "nbd-server-error");
}

}  // namespace
}  // namespace ashlar::nbd
