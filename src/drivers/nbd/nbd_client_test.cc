// The claims of the NBD client against a small server, under the simulated runtime: every age of
// the protocol, any way in which bytes arrive, connections that break at every byte.
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "async/sync.h"
#include "drivers/nbd/client.h"
#include "drivers/nbd/nbd_driver.h"
#include "testing/memory_stream.h"
#include "testing/nbd_fake_server.h"
#include "testing/simulated_runtime.h"

namespace ashlar::nbd::client {
namespace {

using testing::FakeExport;
using testing::memory_stream_pair;
using testing::MemoryStreamShape;
using Age = FakeExport::Age;
using Reads = MemoryStreamShape::Reads;

constexpr Age kAges[] = {Age::kExtended, Age::kStructured, Age::kSimple,
                         Age::kNoGo,     Age::kOldNew,     Age::kOldStyle};

/// What tests steer of the connections to a fake server.
struct Lines {
  explicit Lines(FakeExport& which) : exported(which) {}
  FakeExport& exported;
  MemoryStreamShape to_client;
  MemoryStreamShape to_server;
  unsigned dialed = 0;
  unsigned refused = 0;  // so many calls from the second one on
  Scope scope;
};

class FakeDialer final : public Dialer {
 public:
  explicit FakeDialer(Lines& lines) : lines_(lines) {}
  Task<Result<std::unique_ptr<Stream>>> dial() override {
    if (++lines_.dialed > 1 && lines_.refused > 0) {
      --lines_.refused;
      co_return fail(ErrorCode::kIo, "connection refused");
    }
    // Only the first connection breaks.
    MemoryStreamShape there = lines_.to_server;
    MemoryStreamShape back = lines_.to_client;
    if (lines_.dialed > 1) there.cut_after = back.cut_after = std::nullopt;
    auto [ours, theirs] = memory_stream_pair(there, back);
    lines_.scope.spawn(testing::serve_fake_nbd(std::move(theirs), lines_.exported));
    co_return std::move(ours);
  }
  void end_attempt() noexcept override {}
  void cancel() noexcept override {}
  bool repeatable() const noexcept override { return true; }

 private:
  Lines& lines_;
};

Task<Result<void>> read_at(Client& client, uint64_t offset, std::span<std::byte> into) {
  Call call;
  call.request.offset = offset;
  call.request.length = into.size();
  call.into = MutableBuffers(into);
  co_return co_await client.perform(call);
}

Task<Result<void>> write_at(Client& client, uint64_t offset, std::span<const std::byte> from) {
  Call call;
  call.request.command = Command::kWrite;
  call.request.offset = offset;
  call.request.length = from.size();
  if (client.agreement().headers == Headers::kExtended) {
    call.request.flags = command_flag::kPayloadLength;
  }
  call.payload = ConstBuffers(from.data(), from.size());
  co_return co_await client.perform(call);
}

std::vector<std::byte> pattern(size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  for (size_t at = 0; at < size; ++at)
    bytes[at] = std::byte((at * 7 + seed * 13 + at / 256) & 0xff);
  return bytes;
}

Task<void> one_of_many(Client& client, unsigned number, unsigned& right) {
  const std::vector<std::byte> bytes = pattern(3000, number);
  const uint64_t offset = uint64_t{number} * 4096;
  const Result<void> written = co_await write_at(client, offset, bytes);
  std::vector<std::byte> back(bytes.size());
  const Result<void> read = co_await read_at(client, offset, back);
  if (written && read && back == bytes) ++right;
}

using Body = Task<void> (*)(Client&);

Task<void> with_client(Lines& lines, ClientSettings settings, Body body, Result<void>& opened) {
  Client client(std::make_unique<FakeDialer>(lines), std::move(settings));
  opened = co_await client.open();
  if (opened) co_await body(client);
  co_await client.close();
  co_await lines.scope.join();
}

Result<void> run(Lines& lines, Body body, ClientSettings settings = {}, uint64_t seed = 1) {
  SimulatedRuntime runtime(seed);
  Result<void> opened;
  sync_wait(runtime, with_client(lines, std::move(settings), body, opened));
  return opened;
}

Task<void> many_at_once(Client& client) {
  Scope scope;
  unsigned right = 0;
  constexpr unsigned kMany = 200;  // more than can be in flight
  for (unsigned number = 0; number < kMany; ++number) {
    scope.spawn(one_of_many(client, number, right));
  }
  co_await scope.join();
  EXPECT_EQ(right, kMany);
}

TEST(NbdClient, ManyRequestsGetTheirOwnAnswersInEveryAgeOfTheProtocol) {
  uint64_t seed = 0;
  for (const Age age : kAges) {
    for (const Reads reads : {Reads::kWhole, Reads::kRandom}) {
      FakeExport exported(1_MiB);
      exported.age = age;
      Lines lines(exported);
      lines.to_client.reads = lines.to_server.reads = reads;
      const Result<void> opened = run(lines, many_at_once, {}, ++seed);
      ASSERT_TRUE(opened) << opened.error().message();
    }
  }
}

Task<void> read_a_mixture(Client& client) {
  std::vector<std::byte> all(200'000, std::byte{0xee});
  const Result<void> read = co_await read_at(client, 0, all);
  EXPECT_TRUE(read) << read.error().message();
  EXPECT_EQ(all[0], std::byte{0});
  EXPECT_EQ(all[50'000], std::byte{0x11});
  EXPECT_EQ(all[199'999], std::byte{0});
}

TEST(NbdClient, PutsHolesAndDataTogether) {
  for (const Reads reads : {Reads::kWhole, Reads::kBytewise}) {
    FakeExport exported(1_MiB);
    exported.bytes.write(50'000, std::vector<std::byte>(1000, std::byte{0x11}));
    Lines lines(exported);
    lines.to_client.reads = reads;
    EXPECT_TRUE(run(lines, read_a_mixture));
  }
}

Task<void> expect_the_errors_of_the_server(Client& client) {
  std::vector<std::byte> bytes(512);
  const Result<void> read = co_await read_at(client, 1_MiB, bytes);
  EXPECT_FALSE(read);
  EXPECT_EQ(read.error().code(), ErrorCode::kInvalidArgument);
  const Result<void> written = co_await write_at(client, 1_MiB - 1, bytes);
  EXPECT_FALSE(written);
  EXPECT_EQ(written.error().code(), ErrorCode::kNoSpace);
  // The connection goes on.
  EXPECT_TRUE((co_await read_at(client, 0, bytes)).has_value());
}

TEST(NbdClient, AnErrorOfTheServerIsOfOneRequestOnly) {
  for (const Age age : kAges) {
    FakeExport exported(1_MiB);
    exported.age = age;
    Lines lines(exported);
    EXPECT_TRUE(run(lines, expect_the_errors_of_the_server));
    EXPECT_EQ(lines.dialed, 1U);
  }
}

Task<void> nothing(Client&) { co_return; }

TEST(NbdClient, SaysWhichExportIsMissing) {
  for (const Age age : {Age::kExtended, Age::kSimple, Age::kNoGo}) {
    FakeExport exported(1_MiB);
    exported.name = "disk";
    exported.age = age;
    Lines lines(exported);
    ClientSettings settings;
    settings.wishes.export_name = "disc";
    const Result<void> opened = run(lines, nothing, std::move(settings));
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), ErrorCode::kNotFound);
    EXPECT_EQ(opened.error().reason(), "nbd-export");
  }
}

TEST(NbdClient, AContextThatTheServerHasNotIsAnError) {
  for (const Age age : kAges) {
    FakeExport exported(1_MiB);
    exported.age = age;
    Lines lines(exported);
    ClientSettings settings;
    settings.wishes.context = "qemu:dirty-bitmap:b";
    const Result<void> opened = run(lines, nothing, std::move(settings));
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().reason(), "nbd-context");
  }
}

Task<void> use_until_it_breaks(Client& client) {
  std::vector<std::byte> bytes = pattern(5000, 1);
  for (unsigned round = 0; round < 3; ++round) {
    const Result<void> written = co_await write_at(client, 0, bytes);
    EXPECT_TRUE(written || written.error().reason() == "nbd-lost");
    std::vector<std::byte> back(bytes.size());
    const Result<void> read = co_await read_at(client, 0, back);
    EXPECT_TRUE(read || read.error().reason() == "nbd-lost");
    EXPECT_TRUE(!read || !written || back == bytes);
  }
}

TEST(NbdClient, AConnectionThatBreaksAtAnyByteIsAnErrorAndNothingElse) {
  for (const Age age : {Age::kExtended, Age::kStructured, Age::kSimple, Age::kOldStyle}) {
    for (uint64_t cut = 0; cut < 600; ++cut) {
      for (const bool to_client : {true, false}) {
        FakeExport exported(64_KiB);
        exported.age = age;
        Lines lines(exported);
        (to_client ? lines.to_client : lines.to_server).cut_after = cut;
        (void)run(lines, use_until_it_breaks, {}, cut);
      }
    }
  }
}

Task<void> use_all_along(Client& client) {
  Scope scope;
  unsigned right = 0;
  for (unsigned number = 0; number < 20; ++number) {
    scope.spawn(one_of_many(client, number, right));
  }
  co_await scope.join();
  EXPECT_EQ(right, 20U);
}

TEST(NbdClient, RequestsWaitForALostConnectionAndAreRepeated) {
  for (uint64_t cut = 300; cut < 90'000; cut += 1501) {
    for (const bool to_client : {true, false}) {
      FakeExport exported(1_MiB);
      Lines lines(exported);
      (to_client ? lines.to_client : lines.to_server).cut_after = cut;
      lines.refused = cut % 4;
      ClientSettings settings;
      settings.reconnect_delay_ns = 60'000'000'000;
      const Result<void> opened = run(lines, use_all_along, std::move(settings), cut);
      ASSERT_TRUE(opened) << opened.error().message();
    }
  }
}

Task<void> wait_in_vain(Client& client) {
  std::vector<std::byte> bytes(4096);
  const uint64_t before = Loop::current().now_ns();
  Result<void> read;
  while (read) read = co_await read_at(client, 0, bytes);
  EXPECT_EQ(read.error().reason(), "nbd-lost");
  const uint64_t waited = Loop::current().now_ns() - before;
  EXPECT_GE(waited, 5'000'000'000U);
  EXPECT_LT(waited, 6'000'000'000U);
  const uint64_t then = Loop::current().now_ns();
  EXPECT_FALSE((co_await read_at(client, 0, bytes)).has_value());
  EXPECT_LT(Loop::current().now_ns() - then, 1'000'000U) << "nobody waits a second time";
  co_await sleep_for(3'600'000'000'000);
  EXPECT_TRUE((co_await read_at(client, 0, bytes)).has_value()) << "it comes back one day";
}

TEST(NbdClient, RequestsWaitNoLongerThanTheyShouldAndLaterOnesFindTheServerAgain) {
  FakeExport exported(1_MiB);
  Lines lines(exported);
  lines.to_client.cut_after = 20'000;
  lines.refused = 50;
  ClientSettings settings;
  settings.reconnect_delay_ns = 5'000'000'000;
  EXPECT_TRUE(run(lines, wait_in_vain, std::move(settings)));
}

Task<void> close_while_it_reconnects(Client& client) {
  std::vector<std::byte> bytes(4096);
  Result<void> read;
  while (read) read = co_await read_at(client, 0, bytes);
  EXPECT_EQ(read.error().reason(), "nbd-lost");
}

TEST(NbdClient, ClosesWhileItReconnects) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    FakeExport exported(1_MiB);
    Lines lines(exported);
    lines.to_client.cut_after = 10'000;
    lines.refused = 1000;
    EXPECT_TRUE(run(lines, close_while_it_reconnects, {}, seed));
  }
}

Task<void> find_it_changed(Client& client) {
  std::vector<std::byte> bytes(4096);
  Result<void> read;
  while (read) read = co_await read_at(client, 0, bytes);
  EXPECT_EQ(read.error().reason(), "nbd-changed");
}

Task<void> serve_then_shrink(std::unique_ptr<Stream> stream, FakeExport& exported) {
  co_await testing::serve_fake_nbd(std::move(stream), exported);
  exported.bytes.resize(4096);
}

class ShrinkingDialer final : public Dialer {
 public:
  explicit ShrinkingDialer(Lines& lines) : lines_(lines) {}
  Task<Result<std::unique_ptr<Stream>>> dial() override {
    auto [ours, theirs] = memory_stream_pair({}, lines_.to_client);
    lines_.scope.spawn(serve_then_shrink(std::move(theirs), lines_.exported));
    co_return std::move(ours);
  }
  void end_attempt() noexcept override {}
  void cancel() noexcept override {}
  bool repeatable() const noexcept override { return true; }

 private:
  Lines& lines_;
};

Task<void> meet_a_shrinking_server(Lines& lines) {
  ClientSettings settings;
  settings.reconnect_delay_ns = 60'000'000'000;
  Client client(std::make_unique<ShrinkingDialer>(lines), std::move(settings));
  const Result<void> opened = co_await client.open();
  EXPECT_TRUE(opened);
  co_await find_it_changed(client);
  co_await client.close();
  co_await lines.scope.join();
}

TEST(NbdClient, AServerThatComesBackWithAnotherSizeIsNotUsed) {
  SimulatedRuntime runtime(1);
  FakeExport exported(1_MiB);
  Lines lines(exported);
  lines.to_client.cut_after = 10'000;
  sync_wait(runtime, meet_a_shrinking_server(lines));
}

TEST(NbdClient, GoesOnTryingToOpenForAsLongAsItShould) {
  FakeExport exported(1_MiB);
  Lines lines(exported);
  lines.dialed = 1;  // the first call counts as a second one
  lines.refused = 6;
  ClientSettings settings;
  settings.open_timeout_ns = 60'000'000'000;
  EXPECT_TRUE(run(lines, nothing, settings));
  lines.refused = 6;
  settings.open_timeout_ns = 1'000'000;
  EXPECT_FALSE(run(lines, nothing, settings));
}

Agreement agreement_with(uint64_t size, uint16_t flags, std::optional<BlockSizes> sizes = {}) {
  Agreement agreement;
  agreement.summary.size = size;
  agreement.summary.flags = flags;
  agreement.sizes = sizes;
  return agreement;
}

TEST(NbdDriver, KnowsWhatAnExportCanDo) {
  const auto plain = node_info(agreement_with(1_MiB, transmission_flag::kHasFlags));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->request_alignment, 512U);
  EXPECT_EQ(plain->max_transfer, 32_MiB);
  EXPECT_EQ(plain->fua, NodeInfo::Fua::kByFlush);
  EXPECT_EQ(plain->zeroes, NodeInfo::Zeroes::kByWriting);
  EXPECT_EQ(node_info(agreement_with(1001, 0))->request_alignment, 1U);
  const uint16_t all =
      transmission_flag::kFua | transmission_flag::kWriteZeroes | transmission_flag::kTrim;
  const BlockSizes sizes = {.minimum = 4096, .preferred = 65536, .maximum_payload = 100'000};
  const auto rich = node_info(agreement_with(1_MiB, all, sizes));
  ASSERT_TRUE(rich);
  EXPECT_EQ(rich->request_alignment, 4096U);
  EXPECT_EQ(rich->max_transfer, 98'304U);
  EXPECT_EQ(rich->discards, NodeInfo::Discards::kNative);
  EXPECT_EQ(node_info(agreement_with(1_MiB + 512, 0, sizes)).error().reason(), "nbd-size");
  EXPECT_EQ(node_info(agreement_with(uint64_t{1} << 63, 0)).error().reason(), "device-too-large");
  const auto read_only = node_info(agreement_with(1_MiB, all | transmission_flag::kReadOnly));
  EXPECT_EQ(read_only->zeroes, NodeInfo::Zeroes::kByWriting);
}

TEST(ReceivedRanges, TakeEveryByteOnce) {
  ReceivedRanges ranges;
  EXPECT_TRUE(ranges.add({100, 50}));
  EXPECT_TRUE(ranges.add({200, 50}));
  for (const ByteRange& again : {ByteRange(100, 1), ByteRange(149, 1), ByteRange(90, 11),
                                 ByteRange(120, 100), ByteRange(90, 500), ByteRange(249, 2)}) {
    EXPECT_FALSE(ranges.add(again)) << again.offset;
  }
  EXPECT_FALSE(ranges.covers({100, 150}));
  EXPECT_TRUE(ranges.add({150, 50}));
  EXPECT_TRUE(ranges.covers({100, 150}));
  EXPECT_FALSE(ranges.covers({99, 2}));
  EXPECT_TRUE(ranges.add({90, 10}));
  EXPECT_TRUE(ranges.covers({90, 160}));
}

}  // namespace
}  // namespace ashlar::nbd::client
