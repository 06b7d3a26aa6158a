// The claims of connections before the data phase: whatever a client does, the server stays.
#include <gtest/gtest.h>

#include "exports/nbd/limits.h"
#include "testing/nbd_world.h"

namespace ashlar::nbd {
namespace {

using nbd::Option;
using testing::MemoryStreamShape;
using testing::NbdDialect;
using testing::NbdTestClient;
using testing::NbdWorld;

constexpr uint64_t kSecond = 1'000'000'000;

/// Lets the server get on with what it has.
Task<void> settle(NbdWorld& world) {
  for (int turn = 0; turn < 1000 && world.server().connections() != 0; ++turn) co_await yield();
}

Task<bool> is_served(NbdWorld& world) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kStructured);
  const auto answer = co_await client.ask(testing::nbd_request(Command::kRead, {0, 512}));
  co_return entered&& answer && answer->error == WireError::kNone;
}

Task<void> leave_after(NbdWorld& world, uint64_t bytes) {
  MemoryStreamShape cut;
  cut.cut_after = bytes;
  NbdTestClient client(world.connect(cut));
  const std::vector<std::string> contexts{"base:allocation"};
  (void)co_await client.enter("disk", NbdDialect::kStructured, contexts);
  client.hang_up();
  co_await settle(world);
}

TEST(NbdHandshake, AClientMayLeaveAfterAnyByte) {
  NbdWorld world;
  // Longer than all that enter() sends.
  for (uint64_t bytes = 0; bytes < 130; ++bytes) {
    world.wait(leave_after(world, bytes));
    ASSERT_EQ(world.server().connections(), 0U) << "after " << bytes << " bytes";
    ASSERT_FALSE(world.disk().in_use());
  }
  EXPECT_TRUE(world.wait(is_served(world)));
}

Task<void> server_cut_after(NbdWorld& world, uint64_t bytes) {
  MemoryStreamShape cut;
  cut.cut_after = bytes;
  NbdTestClient client(world.connect({}, cut));
  const std::vector<std::string> contexts{"base:allocation"};
  (void)co_await client.enter("disk", NbdDialect::kStructured, contexts);
  client.hang_up();
  co_await settle(world);
}

TEST(NbdHandshake, TheConnectionMayBreakAfterAnyByteOfTheServer) {
  NbdWorld world;
  for (uint64_t bytes = 0; bytes < 260; ++bytes) {
    world.wait(server_cut_after(world, bytes));
    ASSERT_EQ(world.server().connections(), 0U) << "after " << bytes << " bytes";
  }
}

Task<void> bytewise(NbdWorld& world) {
  MemoryStreamShape slow;
  slow.reads = MemoryStreamShape::Reads::kBytewise;
  NbdTestClient client(world.connect(slow, slow));
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kExtended);
  EXPECT_TRUE(entered);
  EXPECT_EQ(client.summary().size, 1_MiB);
}

TEST(NbdHandshake, BytesMayComeOneByOne) {
  NbdWorld world;
  world.wait(bytewise(world));
}

Task<void> wait_in_handshake(NbdWorld& world, uint64_t seconds) {
  NbdTestClient client(world.connect());
  const Result<void> greeted = co_await client.greet();
  EXPECT_TRUE(greeted);
  co_await sleep_for(seconds * kSecond);
  const auto listed = co_await client.option(Option::kList);
  EXPECT_EQ(listed.has_value(), seconds < 10);
}

TEST(NbdHandshake, EndsWhenItTakesTooLong) {
  NbdWorld world;
  world.wait(wait_in_handshake(world, 9));
  world.wait(wait_in_handshake(world, 11));
  world.wait(settle(world));
  EXPECT_EQ(world.server().connections(), 0U);
}

Task<void> dribble(NbdWorld& world) {
  NbdTestClient client(world.connect());
  const Result<void> greeted = co_await client.greet();
  EXPECT_TRUE(greeted);
  const Bytes option = encode_option(Option::kList);
  // A byte now and then does not buy more time.
  for (int second = 0; second < 20; ++second) {
    co_await sleep_for(kSecond);
    const Result<void> sent = co_await client.send(Bytes(option.begin(), option.begin() + 1));
    if (!sent) co_return;
  }
  ADD_FAILURE() << "the server waited";
}

TEST(NbdHandshake, AByteNowAndThenDoesNotExtendTheTime) {
  NbdWorld world;
  world.wait(dribble(world));
}

Task<void> half_open(NbdWorld& world, size_t count) {
  std::vector<std::unique_ptr<Stream>> clients;
  for (size_t index = 0; index < count; ++index) clients.push_back(world.connect());
  EXPECT_LE(world.server().connections(), 100U);
  co_await sleep_for(11 * kSecond);
  EXPECT_EQ(world.server().connections(), 0U);
  const bool served = co_await is_served(world);
  EXPECT_TRUE(served);
}

TEST(NbdHandshake, AFloodOfSilentClientsIsHeldWithinTheLimitAndSentAway) {
  NbdWorld::Settings settings;
  settings.max_connections = 100;
  NbdWorld world(settings);
  world.wait(half_open(world, 10'000));
}

Task<void> claim_length(NbdWorld& world, uint32_t option, uint32_t length) {
  NbdTestClient client(world.connect());
  const Result<void> greeted = co_await client.greet();
  EXPECT_TRUE(greeted);
  Bytes head = encode_option(static_cast<Option>(option));
  for (unsigned index = 0; index < 4; ++index) {
    head[12 + index] = static_cast<std::byte>(length >> (24 - 8 * index));
  }
  const Result<void> sent = co_await client.send(std::move(head));
  EXPECT_TRUE(sent);
  const bool ended = co_await client.ended();
  EXPECT_TRUE(ended);
}

TEST(NbdHandshake, HugeOptionsEndTheConnection) {
  NbdWorld world;
  for (uint32_t option = 0; option < 14; ++option) {
    world.wait(claim_length(world, option, ~uint32_t{0}));
    world.wait(claim_length(world, option, kMaxSkippedData + 1));
  }
}

Task<void> long_option(NbdWorld& world, size_t length) {
  NbdTestClient client(world.connect());
  const Result<void> greeted = co_await client.greet();
  EXPECT_TRUE(greeted);
  const auto answer = co_await client.option(Option::kInfo, Bytes(length));
  EXPECT_TRUE(answer);
  if (!answer) co_return;
  EXPECT_EQ(answer->back().type,
            length > kMaxOptionData ? OptionReply::kErrorTooBig : OptionReply::kErrorInvalid);
  const auto next = co_await client.option(Option::kList);
  EXPECT_TRUE(next && next->back().type == OptionReply::kAck);
}

TEST(NbdHandshake, LongOptionsAreSkippedAndTheNextOneIsUnderstood) {
  NbdWorld world;
  for (const size_t length : {kMaxOptionData, kMaxOptionData + 1, size_t{1_MiB}}) {
    world.wait(long_option(world, length));
  }
}

Task<void> wrong_magic(NbdWorld& world) {
  NbdTestClient client(world.connect());
  const Result<void> greeted = co_await client.greet();
  EXPECT_TRUE(greeted);
  const Result<void> sent = co_await client.send(Bytes(kOptionHeaderSize));
  EXPECT_TRUE(sent);
  const bool ended = co_await client.ended();
  EXPECT_TRUE(ended);
}

TEST(NbdHandshake, AnOptionWithoutItsMagicNumberEndsTheConnection) {
  NbdWorld world;
  world.wait(wrong_magic(world));
  world.wait(settle(world));
  EXPECT_EQ(world.handshakes_failed(), 1U);
}

Task<void> close_around(NbdWorld& world, unsigned options) {
  NbdTestClient client(world.connect());
  const Result<void> greeted = co_await client.greet();
  EXPECT_TRUE(greeted);
  for (unsigned index = 0; index < options; ++index) (void)co_await client.option(Option::kList);
  co_await world.close();
  const bool ended = co_await client.ended();
  EXPECT_TRUE(ended);
}

TEST(NbdHandshake, TheServerMayStopInTheMiddle) {
  for (unsigned options = 0; options < 3; ++options) {
    NbdWorld world;
    world.wait(close_around(world, options));
  }
}

Task<void> abort_politely(NbdWorld& world) {
  NbdTestClient client(world.connect());
  const Result<void> greeted = co_await client.greet();
  EXPECT_TRUE(greeted);
  const auto answer = co_await client.option(Option::kAbort);
  EXPECT_TRUE(answer && answer->back().type == OptionReply::kAck);
  const bool ended = co_await client.ended();
  EXPECT_TRUE(ended);
}

TEST(NbdHandshake, AbortIsAnsweredAndIsNoFailure) {
  NbdWorld world;
  world.wait(abort_politely(world));
  world.wait(settle(world));
  EXPECT_EQ(world.handshakes_failed(), 0U);
  EXPECT_EQ(world.clients_left(), 0U);
}

}  // namespace
}  // namespace ashlar::nbd
