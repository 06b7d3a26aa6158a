// The claims of the data phase: right answers in every dialect, wrong requests, limits.
#include <gtest/gtest.h>

#include <algorithm>

#include "exports/nbd/limits.h"
#include "testing/flat_model.h"
#include "testing/nbd_world.h"
#include "testing/seeded_random.h"

namespace ashlar::nbd {
namespace {

using testing::MemoryStreamShape;
using testing::nbd_request;
using testing::NbdAnswer;
using testing::NbdDialect;
using testing::NbdTestClient;
using testing::NbdWorld;

constexpr std::array kDialects{NbdDialect::kSimple, NbdDialect::kStructured, NbdDialect::kExtended};

Bytes pattern(size_t size, uint8_t value) { return Bytes(size, std::byte{value}); }

/// What a client asks and what the disk must hold then.
class History {
 public:
  History(NbdTestClient& client, NbdDialect dialect, uint64_t seed)
      : client_(client), dialect_(dialect), random_(seed) {}

  /// Ranges of units, so that requests under way never share one.
  Task<void> run(unsigned rounds) {
    for (unsigned round = 0; round < rounds; ++round) {
      const uint64_t count = 1 + random_.below(16);
      for (uint64_t slot = 0; slot < count; ++slot) co_await send(slot);
      for (uint64_t slot = 0; slot < count; ++slot) {
        const Result<NbdAnswer> answer = co_await client_.receive_answer();
        EXPECT_TRUE(answer) << (answer ? "" : answer.error().message());
        if (!answer) co_return;
        check(*answer);
      }
    }
  }

 private:
  static constexpr uint64_t kSlot = 64_KiB;  // of the disk, for each request under way

  Task<void> send(uint64_t slot) {
    const uint64_t offset = slot * kSlot + random_.below(kSlot / 512) * 512;
    const uint64_t units = 1 + random_.below(((slot + 1) * kSlot - offset) / 512);
    Request request = nbd_request(Command::kRead, {offset, units * 512});
    request.cookie = slot;
    Bytes payload;
    FlatModel::ChangeId change = 0;
    switch (random_.below(6)) {
      case 0:
      case 1:
        request.command = Command::kWrite;
        if (dialect_ == NbdDialect::kExtended) request.flags = command_flag::kPayloadLength;
        payload = pattern(request.length, static_cast<uint8_t>(1 + random_.below(255)));
        change = model_.begin_write(range_of(request), payload);
        break;
      case 2:
        request.command = Command::kWriteZeroes;
        change = model_.begin_zero(range_of(request));
        break;
      case 3:
        request.command = Command::kTrim;
        change = model_.begin_discard(range_of(request));
        break;
      default:
        break;
    }
    under_way_[slot] = {request, change};
    const Result<void> sent = co_await client_.send_request(request, std::move(payload));
    EXPECT_TRUE(sent);
  }

  void check(const NbdAnswer& answer) {
    const auto& [request, change] = under_way_[answer.cookie];
    EXPECT_EQ(answer.error, WireError::kNone);
    if (change != 0) model_.finish(change);
    if (request.command != Command::kRead) return;
    EXPECT_EQ(model_.mismatch(request.offset, answer.data), std::nullopt);
  }
  static ByteRange range_of(const Request& request) { return {request.offset, request.length}; }

  NbdTestClient& client_;
  const NbdDialect dialect_;
  SeededRandom random_;
  FlatModel model_{1_MiB};
  std::map<uint64_t, std::pair<Request, FlatModel::ChangeId>> under_way_;
};

Task<void> play(NbdWorld& world, NbdDialect dialect, uint64_t seed) {
  MemoryStreamShape shape;
  if (seed % 2 == 0) shape.reads = MemoryStreamShape::Reads::kRandom;
  NbdTestClient client(world.connect(shape, shape));
  const Result<void> entered = co_await client.enter("disk", dialect);
  EXPECT_TRUE(entered);
  History history(client, dialect, seed);
  co_await history.run(100);
}

TEST(NbdRequests, ManyAtOnceDoToTheDiskWhatTheySay) {
  for (const NbdDialect dialect : kDialects) {
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      NbdWorld::Settings settings;
      settings.seed = seed;
      NbdWorld world(settings);
      world.wait(play(world, dialect, seed));
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed;
    }
  }
}

/// A request, and what it must be answered with.
struct Expectation {
  Request request;
  WireError error;
  std::optional<Bytes> payload = std::nullopt;
};

std::vector<Expectation> wrong_requests() {
  const uint64_t end = 1_MiB;
  const auto invalid = WireError::kInvalid;
  std::vector<Expectation> all{
      {nbd_request(Command::kRead, {end - 512, 1024}), invalid},
      {nbd_request(Command::kRead, {end, 1}), invalid},
      {nbd_request(Command::kRead, {~uint64_t{0} - 511, 1024}), invalid},
      {nbd_request(Command::kRead, {0, kMaxPayload + 1}), invalid},
      {nbd_request(Command::kRead, {0, 0xffffffff}), invalid},
      {nbd_request(Command::kRead, {0, 512}, command_flag::kNoHole), invalid},
      {nbd_request(Command::kRead, {0, 512}, 0x8000), invalid},
      {nbd_request(Command::kWrite, {end - 512, 1024}), invalid, pattern(1024, 1)},
      {nbd_request(Command::kWrite, {0, 512}, command_flag::kDontFragment), invalid,
       pattern(512, 1)},
      {nbd_request(Command::kWriteZeroes, {end, 512}), invalid},
      {nbd_request(Command::kWriteZeroes, {0, 0xffffffff}), invalid},
      {nbd_request(Command::kTrim, {0, 0xffffffff}), invalid},
      {nbd_request(Command::kTrim, {0, 512}, command_flag::kNoHole), invalid},
      {nbd_request(Command::kCache, {end, 512}), invalid},
      {nbd_request(Command::kCache, {0, kMaxPayload + 1}), invalid},
      {nbd_request(Command::kBlockStatus, {0, 512}), invalid},  // no context was negotiated
      {nbd_request(Command::kResize, {0, 512}), invalid},
      {nbd_request(static_cast<Command>(9), {0, 512}), invalid},
      {nbd_request(static_cast<Command>(0xffff), {0, 0}), invalid},
      // Nothing is wrong with these.
      {nbd_request(Command::kRead, {end, 0}), WireError::kNone},
      {nbd_request(Command::kRead, {end - 1, 1}), WireError::kNone},
      {nbd_request(Command::kFlush, {5, 7}, command_flag::kFua), WireError::kNone},
      {nbd_request(Command::kTrim, {0, 0}), WireError::kNone},
      {nbd_request(Command::kCache, {0, 4096}), WireError::kNone},
      {nbd_request(Command::kWriteZeroes, {0, 4096}, command_flag::kFua), WireError::kNone},
  };
  return all;
}

Task<void> ask_wrong_things(NbdWorld& world, NbdDialect dialect) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", dialect);
  EXPECT_TRUE(entered);
  for (Expectation& each : wrong_requests()) {
    const auto answer =
        co_await client.ask(each.request, std::move(each.payload).value_or(Bytes()));
    EXPECT_TRUE(answer) << static_cast<int>(each.request.command);
    if (!answer) co_return;
    EXPECT_EQ(answer->error, each.error)
        << "command " << static_cast<int>(each.request.command) << " at " << each.request.offset;
  }
}

TEST(NbdRequests, WhatIsWrongIsAnsweredAndTheConnectionStaysInStep) {
  for (const NbdDialect dialect : kDialects) {
    NbdWorld world;
    world.wait(ask_wrong_things(world, dialect));
  }
}

Task<void> send_garbage(NbdWorld& world) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kStructured);
  EXPECT_TRUE(entered);
  const Result<void> sent = co_await client.send(Bytes(28));
  EXPECT_TRUE(sent);
  const bool ended = co_await client.ended();
  EXPECT_TRUE(ended);
}

TEST(NbdRequests, ARequestWithoutItsMagicNumberEndsTheConnection) {
  NbdWorld world;
  world.wait(send_garbage(world));
}

Task<void> write_too_much(NbdWorld& world) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kStructured);
  EXPECT_TRUE(entered);
  const auto answer = co_await client.ask(nbd_request(Command::kWrite, {0, kMaxPayload + 1}));
  EXPECT_TRUE(answer && answer->error == WireError::kInvalid);
  const bool ended = co_await client.ended();
  EXPECT_TRUE(ended);
}

TEST(NbdRequests, AWriteAboveTheLimitIsRefusedBeforeItsDataAndEndsTheConnection) {
  NbdWorld world;
  world.wait(write_too_much(world));
}

Task<void> leave_with_data_due(NbdWorld& world, size_t sent_bytes) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kStructured);
  EXPECT_TRUE(entered);
  const Result<void> sent = co_await client.send_request(nbd_request(Command::kWrite, {0, 1_MiB}),
                                                         pattern(sent_bytes, 7));
  EXPECT_TRUE(sent);
  client.hang_up();
  for (int turn = 0; turn < 1000 && world.server().connections() != 0; ++turn) co_await yield();
  EXPECT_EQ(world.server().connections(), 0U);
}

TEST(NbdRequests, AWriteWhoseDataDoesNotComeWritesNothing) {
  for (const size_t bytes : {0, 1, 1000, 200'000}) {
    NbdWorld world;
    world.wait(leave_with_data_due(world, bytes));
    const auto& file = world.graph().world().files["f"]->bytes;
    EXPECT_TRUE(std::ranges::all_of(file, [](std::byte b) { return b == std::byte{0}; }));
  }
}

Task<void> read_in_pieces(NbdWorld& world, uint16_t flags, NbdAnswer& answer) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kStructured);
  EXPECT_TRUE(entered);
  const auto written =
      co_await client.ask(nbd_request(Command::kWrite, {512_KiB, 4096}), pattern(4096, 9));
  EXPECT_TRUE(written && written->error == WireError::kNone);
  auto got = co_await client.ask(nbd_request(Command::kRead, {0, 1_MiB}, flags));
  EXPECT_TRUE(got);
  if (got) answer = std::move(*got);
}

TEST(NbdRequests, LongReadsComeInPiecesUnlessTheClientSaysNot) {
  for (const uint16_t flags : {uint16_t{0}, command_flag::kDontFragment}) {
    NbdWorld world;
    NbdAnswer answer;
    world.wait(read_in_pieces(world, flags, answer));
    EXPECT_EQ(answer.chunks == 1, flags != 0) << answer.chunks;
    EXPECT_EQ(answer.data[512_KiB], std::byte{9});
    EXPECT_EQ(answer.data[512_KiB + 4096], std::byte{0});
  }
}

Task<void> read_zeroes(NbdWorld& world) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kStructured);
  EXPECT_TRUE(entered);
  const auto zeroes = co_await client.ask(nbd_request(Command::kRead, {0, 4096}));
  EXPECT_TRUE(zeroes && zeroes->hole_bytes == 4096);
  const auto whole =
      co_await client.ask(nbd_request(Command::kRead, {0, 4096}, command_flag::kDontFragment));
  EXPECT_TRUE(whole && whole->hole_bytes == 0 && whole->data == Bytes(4096));
}

TEST(NbdRequests, ZeroesDoNotTravelUnlessTheClientWantsOnePiece) {
  NbdWorld world;
  world.wait(read_zeroes(world));
}

Task<void> ask_for_status(NbdWorld& world, NbdDialect dialect) {
  NbdTestClient client(world.connect());
  const std::vector<std::string> contexts{"base:allocation", "qemu:allocation-depth"};
  const Result<void> entered = co_await client.enter("disk", dialect, contexts);
  EXPECT_TRUE(entered);
  EXPECT_EQ(client.contexts().size(), 2U);
  const auto all = co_await client.ask(nbd_request(Command::kBlockStatus, {0, 1_MiB}));
  EXPECT_TRUE(all && all->error == WireError::kNone && all->status.size() == 2);
  if (!all || all->status.size() != 2) co_return;
  for (const BlockStatus& status : all->status) {
    uint64_t covered = 0;
    for (const Descriptor& extent : status.extents) covered += extent.length;
    EXPECT_EQ(covered, 1_MiB);
  }
  const auto one = co_await client.ask(
      nbd_request(Command::kBlockStatus, {512, 4096}, command_flag::kOneExtent));
  EXPECT_TRUE(one && one->status.size() == 2 && one->status[0].extents.size() == 1);
  EXPECT_TRUE(one && one->status[0].extents[0].length <= 4096);
  const auto none = co_await client.ask(nbd_request(Command::kBlockStatus, {0, 0}));
  EXPECT_TRUE(none && none->error == WireError::kInvalid);
  const auto past = co_await client.ask(nbd_request(Command::kBlockStatus, {0, 2_MiB}));
  EXPECT_TRUE(past && past->error == WireError::kInvalid);
}

TEST(NbdRequests, BlockStatusCoversWhatWasAskedInEachContext) {
  for (const NbdDialect dialect : {NbdDialect::kStructured, NbdDialect::kExtended}) {
    NbdWorld world;
    world.wait(ask_for_status(world, dialect));
  }
}

Task<void> ask_with_filter(NbdWorld& world) {
  NbdTestClient client(world.connect());
  const std::vector<std::string> contexts{"base:allocation", "qemu:allocation-depth"};
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kExtended, contexts);
  EXPECT_TRUE(entered);
  const auto ask = [&client](uint64_t length, std::initializer_list<uint32_t> ids) {
    BlockStatusFilter filter;
    filter.effect_length = length;
    filter.contexts = ids;
    Bytes payload = encode(filter);
    const ByteRange of_payload(0, payload.size());
    return client.ask(nbd_request(Command::kBlockStatus, of_payload, command_flag::kPayloadLength),
                      std::move(payload));
  };
  Task<Result<NbdAnswer>> asking = ask(4096, {1});
  const auto depth = co_await asking;
  EXPECT_TRUE(depth && depth->status.size() == 1 && depth->status[0].context == 1);
  asking = ask(4096, {7});
  const auto unknown = co_await asking;
  EXPECT_TRUE(unknown && unknown->error == WireError::kInvalid);
  asking = ask(4096, {1, 1});
  const auto twice = co_await asking;
  EXPECT_TRUE(twice && twice->error == WireError::kInvalid);
  asking = ask(0, {0});
  const auto empty = co_await asking;
  EXPECT_TRUE(empty && empty->error == WireError::kInvalid);
  asking = ask(~uint64_t{0}, {0});
  const auto huge = co_await asking;
  EXPECT_TRUE(huge && huge->error == WireError::kInvalid);
}

TEST(NbdRequests, APayloadChoosesContextsOfBlockStatus) {
  NbdWorld world;
  world.wait(ask_with_filter(world));
}

Task<void> pipeline_without_reading(NbdWorld& world, unsigned count, unsigned& taken) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kSimple);
  EXPECT_TRUE(entered);
  Scope scope;
  const auto send = [](NbdTestClient& to, unsigned left, unsigned& done) -> Task<void> {
    for (; left != 0; --left, ++done) {
      Request request = nbd_request(Command::kRead, {0, 64_KiB});
      request.cookie = left;
      const Result<void> sent = co_await to.send_request(request);
      if (!sent) co_return;
    }
  };
  scope.spawn(send(client, count, taken));
  for (int turn = 0; turn < 200'000; ++turn) co_await yield();
  // What is under way, what the server's buffer holds, and what is on the way.
  EXPECT_LE(taken, kMaxRequests + (kReceiveBuffer + 64_KiB) / 28 + 10);
  for (unsigned answers = 0; answers < count; ++answers) {
    const auto answer = co_await client.receive_answer();
    EXPECT_TRUE(answer && answer->error == WireError::kNone);
  }
  co_await scope.join();
}

TEST(NbdRequests, AClientThatDoesNotReadItsAnswersIsNotReadEither) {
  NbdWorld world;
  unsigned taken = 0;
  world.wait(pipeline_without_reading(world, 10'000, taken));
  EXPECT_EQ(taken, 10'000U);
}

}  // namespace
}  // namespace ashlar::nbd
