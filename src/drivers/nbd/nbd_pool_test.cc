// The claims of the connections of a node: whose loop they live on, and how long one may take to
// come about.
#include <gtest/gtest.h>

#include "async/on_loop.h"
#include "drivers/nbd/pool.h"
#include "testing/memory_stream.h"
#include "testing/nbd_fake_server.h"
#include "testing/simulated_runtime.h"

namespace ashlar::nbd::client {
namespace {

using testing::FakeExport;
using testing::FakeNbdServer;
using testing::memory_stream_pair;

constexpr uint64_t kSecond = 1'000'000'000;

Task<void> read_one(Pool& pool, uint64_t offset, unsigned& right) {
  std::array<std::byte, 512> bytes{};
  Call call;
  call.request.offset = offset;
  call.request.length = bytes.size();
  call.into = MutableBuffers(bytes);
  const Result<void> read = co_await pool.perform(call);
  const auto expected = static_cast<std::byte>(offset / bytes.size() % 251 + 1);
  if (read && std::ranges::count(bytes, expected) == std::ssize(bytes)) ++right;
}

/// 32 at a time, until there are `connections`; gives up after many rounds.
Task<unsigned> read_until(Pool& pool, size_t connections) {
  constexpr unsigned kMany = 32;
  for (unsigned round = 0; round < 1000; ++round) {
    Scope scope;
    unsigned right = 0;
    for (unsigned number = 0; number < kMany; ++number) {
      scope.spawn(read_one(pool, uint64_t{number} * 512, right));
    }
    co_await scope.join();
    if (right != kMany || pool.connections() >= connections) co_return kMany - right;
  }
  co_return kMany;
}

Task<unsigned> read_on_two_loops(Pool& pool, Runtime& runtime) {
  const Result<void> opened = co_await pool.open();
  if (!opened) co_return 1000;
  OnLoop<unsigned> first(runtime.loop(1), read_until(pool, 3));
  unsigned wrong = co_await first;
  // The first loop has what it may have; the rest is for another one.
  EXPECT_EQ(pool.connections(), 3U);
  OnLoop<unsigned> second(runtime.loop(2), read_until(pool, 4));
  wrong += co_await second;
  EXPECT_EQ(pool.connections(), 4U);
  co_await pool.close();
  co_return wrong;
}

Target target_of(const FakeNbdServer& server) {
  Target target;
  target.server = SocketAddress::unix_socket(server.path());
  target.connections = 4;
  return target;
}

void fill(FakeExport& exported) {
  for (uint64_t block = 0; block < 32; ++block) {
    const std::vector<std::byte> bytes(512, static_cast<std::byte>(block % 251 + 1));
    exported.bytes.write(block * 512, bytes);
  }
}

TEST(NbdPool, LoopsWithMuchToDoGetConnectionsOfTheirOwn) {
  FakeExport exported(64_KiB);
  fill(exported);
  FakeNbdServer server(exported);
  const std::unique_ptr<Runtime> runtime = Runtime::create({.io_loops = 2});
  Pool pool(target_of(server));
  EXPECT_EQ(sync_wait(*runtime, read_on_two_loops(pool, *runtime)), 0U);
}

Task<unsigned> read_on_one_loop(Pool& pool, size_t connections) {
  const Result<void> opened = co_await pool.open();
  if (!opened) co_return 1000;
  const unsigned wrong = co_await read_until(pool, connections);
  EXPECT_EQ(pool.connections(), connections);
  co_await pool.close();
  co_return wrong;
}

TEST(NbdPool, OneLoopAloneGetsAllConnections) {
  FakeExport exported(64_KiB);
  fill(exported);
  FakeNbdServer server(exported);
  const std::unique_ptr<Runtime> runtime = Runtime::create();
  Pool pool(target_of(server));
  EXPECT_EQ(sync_wait(*runtime, read_on_one_loop(pool, 4)), 0U);
}

/// Calls a server that never says a word; or, from the second call on, one that does not answer.
class SilentDialer final : public Dialer {
 public:
  SilentDialer(unsigned& dialed, bool& ended) : dialed_(dialed), ended_(ended) {}
  Task<Result<std::unique_ptr<Stream>>> dial() override {
    ++dialed_;
    if (dialed_ > 1) {
      ringing_ = std::make_unique<Pause>();
      co_await ringing_->wait(3600 * kSecond);
      co_return fail(ErrorCode::kCancelled, "nobody answers");
    }
    auto [ours, theirs] = memory_stream_pair();
    server_ = std::move(theirs);
    co_return std::move(ours);
  }
  void end_attempt() noexcept override {
    ended_ = true;
    if (ringing_) ringing_->cancel();
  }
  void cancel() noexcept override { end_attempt(); }
  bool repeatable() const noexcept override { return true; }

 private:
  unsigned& dialed_;
  bool& ended_;
  std::unique_ptr<Stream> server_;
  std::unique_ptr<Pause> ringing_;
};

struct Attempts {
  Attempts() {}  // NOLINT(modernize-use-equals-default): no aggregate, it goes by co_return
  unsigned dialed = 0;
  bool ended = false;
  uint64_t took_ns = 0;
  std::string_view reason;
};

Task<Attempts> call_a_silent_server(ClientSettings settings) {
  Attempts seen;
  Client client(std::make_unique<SilentDialer>(seen.dialed, seen.ended), std::move(settings));
  const uint64_t start_ns = Loop::current().now_ns();
  const Result<void> opened = co_await client.open();
  seen.took_ns = Loop::current().now_ns() - start_ns;
  if (!opened) seen.reason = opened.error().reason();
  co_await client.close();
  co_return seen;
}

TEST(NbdClient, DoesNotWaitForAServerThatStopsInTheHandshake) {
  SimulatedRuntime runtime(1);
  ClientSettings settings;
  settings.attempt_ns = 5 * kSecond;
  const Attempts seen = sync_wait(runtime, call_a_silent_server(settings));
  EXPECT_EQ(seen.reason, "nbd-handshake-slow");
  EXPECT_TRUE(seen.ended);
  EXPECT_EQ(seen.dialed, 1U);
  EXPECT_EQ(seen.took_ns / kSecond, 5U);
}

TEST(NbdClient, TriesAgainWhileOpeningMayTakeLonger) {
  SimulatedRuntime runtime(1);
  ClientSettings settings;
  settings.attempt_ns = 5 * kSecond;
  settings.open_timeout_ns = 12 * kSecond;
  const Attempts seen = sync_wait(runtime, call_a_silent_server(settings));
  EXPECT_EQ(seen.reason, "nbd-handshake-slow");
  EXPECT_EQ(seen.dialed, 3U);
  EXPECT_EQ(seen.took_ns / kSecond, 12U);
}

}  // namespace
}  // namespace ashlar::nbd::client
