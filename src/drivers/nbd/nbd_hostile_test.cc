// What the NBD client does with replies that no honest server sends: the connection ends, every
// request ends with it, and nothing is written where nothing was asked for.
#include <gtest/gtest.h>

#include <functional>

#include "async/sync.h"
#include "drivers/nbd/channel.h"
#include "testing/memory_stream.h"
#include "testing/simulated_runtime.h"

namespace ashlar::nbd::client {
namespace {

using testing::memory_stream_pair;

constexpr uint64_t kOffset = 4096;
constexpr size_t kLength = 1024;
constexpr uint64_t kCookie = 1 << 8;  // of the first call

/// A reply, put together by hand.
class Script {
 public:
  explicit Script(Headers headers = Headers::kCompact) : headers_(headers) {}
  Script& simple(WireError error, uint64_t cookie = kCookie) {
    std::array<std::byte, kSimpleReplySize> reply;
    encode(SimpleReply{.error = error, .cookie = cookie}, reply);
    return raw(reply);
  }
  Script& chunk(ChunkType type, uint16_t flags, uint64_t length, uint64_t cookie = kCookie) {
    std::array<std::byte, kMaxReplySize> bytes;
    const Chunk header = {
        .flags = flags, .type = type, .cookie = cookie, .offset = kOffset, .length = length};
    encode(header, headers_, bytes);
    return raw(std::span(bytes).first(chunk_size(headers_)));
  }
  Script& data(uint64_t offset, size_t size, uint16_t flags = 0) {
    chunk(ChunkType::kOffsetData, flags, kDataOffsetSize + size);
    const auto place = encode_hole({offset, 1});  // starts with the offset
    raw(std::span(place).first<kDataOffsetSize>());
    bytes_.resize(bytes_.size() + size, std::byte{0x55});
    return *this;
  }
  Script& hole(ByteRange range, uint16_t flags = 0) {
    chunk(ChunkType::kOffsetHole, flags, kHoleSize);
    return raw(encode_hole(range));
  }
  Script& status(uint32_t context, uint64_t length, uint16_t flags = kChunkDone) {
    BlockStatus answer;
    answer.context = context;
    answer.extents = {{length, kStateZero}};
    const std::vector<std::byte> payload = encode(answer, headers_);
    chunk(headers_ == Headers::kCompact ? ChunkType::kBlockStatus : ChunkType::kBlockStatusExtended,
          flags, payload.size());
    return raw(payload);
  }
  Script& raw(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  const Headers headers_;
  std::vector<std::byte> bytes_;
};

/// Reads one request, answers with the script, and then waits for the end.
Task<void> recite(std::unique_ptr<Stream> stream, const Script& script, Headers headers) {
  std::vector<std::byte> request(request_size(headers));
  const MutableBuffers into(request.data(), request.size());
  (void)co_await read_exactly(*stream, into);
  const ConstBuffers bytes(script.bytes().data(), script.bytes().size());
  (void)co_await stream->write_all(bytes);
  Result<size_t> more = size_t{1};
  const MutableBuffers rest(request.data(), 1);
  while (more && *more != 0) more = co_await stream->read_some(rest);
}

struct Outcome {
  Outcome() {}
  Result<void> result;
  bool lost = false;
  bool strayed = false;  // bytes beside the buffer have changed
};

struct Trial {
  Command command = Command::kRead;
  Headers headers = Headers::kCompact;
  bool structured = true;
};

Task<Outcome> face(const Script& script, Trial trial) {
  auto [ours, theirs] = memory_stream_pair();
  Scope scope;
  scope.spawn(recite(std::move(theirs), script, trial.headers));
  Established established;
  established.stream = std::move(ours);
  established.agreement.headers = trial.headers;
  established.agreement.structured = trial.structured;
  established.agreement.context = 7;
  Channel channel(std::move(established));
  channel.start({});
  std::vector<std::byte> memory(3 * kLength, std::byte{0xcc});
  Call call;
  call.request.command = trial.command;
  call.request.offset = kOffset;
  call.request.length = kLength;
  call.into = MutableBuffers(memory.data() + kLength, kLength);
  Outcome outcome;
  outcome.result = co_await channel.perform(call);
  // What comes behind an answer is looked at, too.
  for (unsigned turn = 0; turn < 20; ++turn) co_await yield();
  outcome.lost = channel.lost();
  co_await channel.close();
  co_await scope.join();
  for (size_t at = 0; at < memory.size(); ++at) {
    const bool outside = at < kLength || at >= 2 * kLength;
    outcome.strayed = outcome.strayed || (outside && memory[at] != std::byte{0xcc});
  }
  co_return outcome;
}

Outcome run(const Script& script, Trial trial = {}) {
  SimulatedRuntime runtime(1);
  Outcome outcome = sync_wait(runtime, face(script, trial));
  EXPECT_FALSE(outcome.strayed);
  return outcome;
}

void expect_lost(const char* what, const Script& script, Trial trial = {}) {
  const Outcome outcome = run(script, trial);
  ASSERT_FALSE(outcome.result) << what;
  EXPECT_EQ(outcome.result.error().reason(), "nbd-lost") << what;
  EXPECT_TRUE(outcome.lost) << what;
}

TEST(NbdHostile, RepliesToNobodyEndTheConnection) {
  expect_lost("garbage", Script().raw(std::vector<std::byte>(64, std::byte{0x41})));
  expect_lost("another cookie", Script().chunk(ChunkType::kNone, kChunkDone, 0, kCookie + 1));
  expect_lost("a later use", Script().chunk(ChunkType::kNone, kChunkDone, 0, kCookie * 2));
  expect_lost("beyond all slots", Script().chunk(ChunkType::kNone, kChunkDone, 0, kCookie + 255));
  const Script twice = Script().data(kOffset, kLength, kChunkDone).hole({kOffset, 1}, kChunkDone);
  const Outcome answered = run(twice);
  EXPECT_TRUE(answered.result);
  EXPECT_TRUE(answered.lost) << "an answer to a request that has one";
}

TEST(NbdHostile, DataOutsideOfTheRequestEndsTheConnection) {
  expect_lost("before", Script().data(kOffset - 1, 2, kChunkDone));
  expect_lost("behind", Script().data(kOffset + kLength - 1, 2, kChunkDone));
  expect_lost("far away", Script().data(UINT64_MAX - 1, 2, kChunkDone));
  expect_lost("too much", Script().data(kOffset, kLength + 1, kChunkDone));
  expect_lost("twice", Script().data(kOffset, 10).data(kOffset + 9, 10));
  expect_lost("a hole over data", Script().data(kOffset, 10).hole({kOffset, 10}));
  expect_lost("a hole behind", Script().hole({kOffset + kLength, 1}));
  expect_lost("a huge hole", Script().hole({kOffset, 0xffffffff}));
  expect_lost("nothing", Script().data(kOffset, 0, kChunkDone));
  expect_lost("a huge chunk", Script().chunk(ChunkType::kOffsetData, 0, 0xffffffff));
  expect_lost("an empty hole", Script().hole({kOffset, 0}));
  expect_lost("a long hole", Script().chunk(ChunkType::kOffsetHole, 0, kHoleSize + 1));
}

TEST(NbdHostile, MessagesNobodyAgreedOnEndTheConnection) {
  expect_lost("a simple reply to a read", Script().simple(WireError::kNone));
  Trial simple;
  simple.structured = false;
  expect_lost("a chunk", Script().data(kOffset, kLength, kChunkDone), simple);
  expect_lost("a type from the future", Script().chunk(ChunkType(99), kChunkDone, 0));
  expect_lost("an empty chunk that is not the last", Script().chunk(ChunkType::kNone, 0, 0));
  expect_lost("an empty chunk with bytes", Script().chunk(ChunkType::kNone, kChunkDone, 1));
  expect_lost("a long error", Script().chunk(ChunkType::kError, kChunkDone, kMaxErrorPayload + 1));
  expect_lost("a short error", Script().chunk(ChunkType::kError, kChunkDone, 1).raw({}));
  Trial extended;
  extended.headers = Headers::kExtended;
  expect_lost("a compact chunk", Script().data(kOffset, kLength, kChunkDone), extended);
  expect_lost("2^63 bytes",
              Script(Headers::kExtended).chunk(ChunkType::kOffsetData, 0, uint64_t{1} << 63),
              extended);
}

TEST(NbdHostile, BlockStatusOfAnotherKindEndsTheConnection) {
  for (const Headers headers : {Headers::kCompact, Headers::kExtended}) {
    Trial trial;
    trial.command = Command::kBlockStatus;
    trial.headers = headers;
    expect_lost("another context", Script(headers).status(8, 512), trial);
    expect_lost("twice", Script(headers).status(7, 512, 0).status(7, 512), trial);
    expect_lost("no extent", Script(headers).status(7, 0), trial);
    expect_lost("endless", Script(headers).chunk(ChunkType::kBlockStatus, 0, 1 << 20), trial);
    expect_lost("data", Script(headers).data(kOffset, 1), trial);
    Trial reading;
    reading.headers = headers;
    expect_lost("to a read", Script(headers).status(7, 512), reading);
    EXPECT_TRUE(run(Script(headers).status(7, UINT32_MAX), trial).result) << "more than was asked";
  }
}

TEST(NbdHostile, AnIncompleteAnswerIsAnErrorOfItsRequest) {
  Trial status;
  status.command = Command::kBlockStatus;
  const Script none = Script().chunk(ChunkType::kNone, kChunkDone, 0);
  const Script half = Script().data(kOffset, kLength / 2, kChunkDone);
  const Script gap = Script().data(kOffset + 1, kLength - 1, kChunkDone);
  for (const auto& [script, trial] : {std::pair(none, Trial()), std::pair(half, Trial()),
                                      std::pair(gap, Trial()), std::pair(none, status)}) {
    const Outcome outcome = run(script, trial);
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().reason(), "nbd-incomplete");
    EXPECT_FALSE(outcome.lost);
  }
}

TEST(NbdHostile, AnErrorInTheMiddleCountsAndItsTextIsMadePrintable) {
  ErrorPayload error;
  error.error = WireError::kNoSpace;
  error.message = "evil\x1b[2J";
  const std::vector<std::byte> payload = encode(error);
  Script script;
  script.data(kOffset, 10).chunk(ChunkType::kError, 0, payload.size()).raw(payload);
  script.data(kOffset + 10, kLength - 10, kChunkDone);
  const Outcome outcome = run(script);
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code(), ErrorCode::kNoSpace);
  EXPECT_EQ(outcome.result.error().message().find('\x1b'), std::string::npos);
  EXPECT_FALSE(outcome.lost);
}

}  // namespace
}  // namespace ashlar::nbd::client
