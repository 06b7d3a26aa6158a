// The claims of an export about its backend: media come and go under traffic, exports end.
#include <gtest/gtest.h>

#include <cstring>

#include "async/sync.h"
#include "exports/nbd/nbd.h"
#include "testing/nbd_world.h"

namespace ashlar::nbd {
namespace {

using testing::nbd_request;
using testing::NbdDialect;
using testing::NbdTestClient;
using testing::NbdWorld;

/// A client that goes on until it is told to stop.
struct Traffic {
  bool stop = false;
  uint64_t requests = 0;
  uint64_t mixed = 0;
  uint64_t failed = 0;
};

Task<void> read_all_the_time(NbdWorld& world, Traffic& traffic) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kStructured);
  EXPECT_TRUE(entered);
  while (!traffic.stop) {
    // In one piece: one request sees one medium.
    const auto answer =
        co_await client.ask(nbd_request(Command::kRead, {0, 64_KiB}, command_flag::kDontFragment));
    EXPECT_TRUE(answer);
    if (!answer) co_return;
    ++traffic.requests;
    if (answer->error != WireError::kNone) ++traffic.failed;
    // Equal to itself shifted by one: all of one value.
    const bool uniform =
        std::memcmp(answer->data.data(), answer->data.data() + 1, answer->data.size() - 1) == 0;
    if (!uniform) ++traffic.mixed;
  }
}

Task<NodeRef> open_later(NbdWorld& world, std::string name) {
  OptionDict options;
  options.set("driver", std::string("memory"));
  options.set("filename", std::move(name));
  Result<NodeRef> node = co_await world.graph().graph().open(std::move(options), {});
  co_return node ? std::move(*node) : NodeRef();
}

Task<void> change_under_reads(NbdWorld& world, unsigned changes, Traffic& traffic) {
  world.graph().world().files["one"] = make_file(64_KiB, 1);
  world.graph().world().files["two"] = make_file(64_KiB, 2);
  Scope scope;
  for (int client = 0; client < 3; ++client) scope.spawn(read_all_the_time(world, traffic));
  for (unsigned change = 0; change < changes; ++change) {
    NodeRef next = co_await open_later(world, change % 2 == 0 ? "one" : "two");
    const Result<void> changed =
        co_await world.backend().change_medium(std::move(next), Backend::Eject::kForce);
    EXPECT_TRUE(changed);
    for (int turn = 0; turn < 5; ++turn) co_await yield();
  }
  traffic.stop = true;
  co_await scope.join();
}

TEST(NbdMedium, AThousandChangesUnderReadsMixNothing) {
  NbdWorld world;
  Traffic traffic;
  world.wait(change_under_reads(world, 1000, traffic));
  EXPECT_GT(traffic.requests, 1000U);
  EXPECT_EQ(traffic.mixed, 0U);
  EXPECT_EQ(traffic.failed, 0U);
}

/// Writes a number to its own place, again and again, and reads it back.
Task<void> count_in_place(NbdWorld& world, uint64_t place, Traffic& traffic) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kExtended);
  EXPECT_TRUE(entered);
  for (uint8_t value = 1; !traffic.stop; value = static_cast<uint8_t>(value % 250 + 1)) {
    const Bytes bytes(4096, std::byte{value});
    const ByteRange range(place * 4096, 4096);
    const auto written = co_await client.ask(
        nbd_request(Command::kWrite, range, command_flag::kPayloadLength), bytes);
    const auto read = co_await client.ask(nbd_request(Command::kRead, range));
    EXPECT_TRUE(written && read);
    if (!written || !read) co_return;
    ++traffic.requests;
    if (written->error != WireError::kNone || read->error != WireError::kNone) ++traffic.failed;
    if (read->data != bytes) ++traffic.mixed;
  }
}

Task<void> change_under_writes(NbdWorld& world, unsigned changes, Traffic& traffic) {
  Scope scope;
  for (uint64_t client = 0; client < 3; ++client) {
    scope.spawn(count_in_place(world, client, traffic));
  }
  for (unsigned change = 0; change < changes; ++change) {
    // The same file by another node: whatever was answered must be there.
    NodeRef next = co_await open_later(world, "f");
    const Result<void> changed =
        co_await world.backend().change_medium(std::move(next), Backend::Eject::kForce);
    EXPECT_TRUE(changed);
    for (int turn = 0; turn < 5; ++turn) co_await yield();
  }
  traffic.stop = true;
  co_await scope.join();
}

TEST(NbdMedium, AThousandChangesUnderWritesLoseNothing) {
  NbdWorld world;
  Traffic traffic;
  world.wait(change_under_writes(world, 1000, traffic));
  EXPECT_GT(traffic.requests, 100U);
  EXPECT_EQ(traffic.mixed, 0U);
  EXPECT_EQ(traffic.failed, 0U);
}

Task<void> without_a_medium(NbdWorld& world) {
  NbdTestClient before(world.connect());
  const Result<void> first = co_await before.enter("disk", NbdDialect::kStructured);
  EXPECT_TRUE(first);
  const Result<void> ejected = co_await world.backend().eject_medium(Backend::Eject::kForce);
  EXPECT_TRUE(ejected);
  const auto read = co_await before.ask(nbd_request(Command::kRead, {0, 512}));
  EXPECT_TRUE(read && read->error == WireError::kIo);
  const auto flush = co_await before.ask(nbd_request(Command::kFlush, {0, 0}));
  EXPECT_TRUE(flush && flush->error == WireError::kIo);
  NbdTestClient after(world.connect());
  const Result<void> second = co_await after.enter("disk", NbdDialect::kStructured);
  EXPECT_TRUE(second);
  EXPECT_EQ(after.summary().size, 0U);
  NodeRef next = co_await open_later(world, "f");
  const Result<void> inserted = co_await world.backend().insert_medium(std::move(next));
  EXPECT_TRUE(inserted);
  const auto again = co_await before.ask(nbd_request(Command::kRead, {0, 512}));
  EXPECT_TRUE(again && again->error == WireError::kNone);
}

TEST(NbdMedium, WithoutAMediumTheSizeIsZeroAndRequestsFailUntilThereIsOne) {
  NbdWorld world;
  world.wait(without_a_medium(world));
}

Task<void> end_under_traffic(NbdWorld& world, bool& answered) {
  NbdTestClient client(world.connect());
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kStructured);
  EXPECT_TRUE(entered);
  EXPECT_TRUE(world.disk().in_use());
  co_await world.graph().world().requests.close();  // the request waits in the storage
  const Result<void> sent = co_await client.send_request(nbd_request(Command::kRead, {0, 512}));
  EXPECT_TRUE(sent);
  for (int turn = 0; turn < 100; ++turn) co_await yield();
  Scope scope;
  scope.spawn(world.close());
  for (int turn = 0; turn < 100; ++turn) co_await yield();
  world.graph().world().requests.open();
  const auto answer = co_await client.receive_answer();
  answered = answer && answer->error == WireError::kNone;
  const bool ended = co_await client.ended();
  EXPECT_TRUE(ended);
  co_await scope.join();
}

TEST(NbdMedium, AnExportThatEndsAnswersWhatIsUnderWay) {
  NbdWorld world;
  bool answered = false;
  world.wait(end_under_traffic(world, answered));
  EXPECT_TRUE(answered);
  EXPECT_EQ(world.backend().device(), nullptr);
}

Task<void> end_with_deaf_client(NbdWorld& world) {
  testing::MemoryStreamShape narrow;
  narrow.capacity = 4096;
  NbdTestClient client(world.connect({}, narrow));
  const Result<void> entered = co_await client.enter("disk", NbdDialect::kSimple);
  EXPECT_TRUE(entered);
  for (uint64_t cookie = 1; cookie <= 8; ++cookie) {
    Request request = nbd_request(Command::kRead, {0, 64_KiB});
    request.cookie = cookie;
    const Result<void> sent = co_await client.send_request(request);
    EXPECT_TRUE(sent);
  }
  for (int turn = 0; turn < 1000; ++turn) co_await yield();
  co_await world.close();
}

TEST(NbdMedium, AClientThatDoesNotReadHoldsTheEndUpForAMomentOnly) {
  NbdWorld world;
  const uint64_t before = world.graph().runtime().now_ns();
  world.wait(end_with_deaf_client(world));
  EXPECT_LT(world.graph().runtime().now_ns() - before, 5'000'000'000U);
}

}  // namespace
}  // namespace ashlar::nbd
