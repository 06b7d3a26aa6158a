// The claims of streams in memory, under the simulated runtime.
#include "testing/memory_stream.h"

#include <gtest/gtest.h>

#include "async/on_loop.h"
#include "async/sync.h"
#include "testing/simulated_runtime.h"

namespace ashlar::testing {
namespace {

using Reads = MemoryStreamShape::Reads;

ConstBuffers bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// Reads to the end or the first error, and notes how large the parts were.
Task<std::string> read_to_end(Stream& stream, size_t& largest) {
  std::string all;
  std::string part(64, '\0');
  for (;;) {
    const MutableBuffers into(reinterpret_cast<std::byte*>(part.data()), part.size());
    const Result<size_t> got = co_await stream.read_some(into);
    if (!got || *got == 0) co_return all;
    largest = std::max(largest, *got);
    all.append(part, 0, *got);
  }
}

Task<void> write_and_drop(std::unique_ptr<Stream> stream, const std::string& text,
                          Result<void>& written) {
  written = co_await stream->write_all(bytes_of(text));
}

struct Outcome {
  std::string arrived;
  size_t largest = 0;
  Result<void> written;
  Outcome() {}
};

Task<Outcome> send(std::string text, MemoryStreamShape shape) {
  auto [from, to] = memory_stream_pair(shape);
  Outcome outcome;
  Scope scope;
  scope.spawn(write_and_drop(std::move(from), text, outcome.written));
  outcome.arrived = co_await read_to_end(*to, outcome.largest);
  co_await scope.join();
  co_return outcome;
}

const std::string kText = [] {
  std::string text;
  for (int number = 0; number < 500; ++number) text += std::to_string(number);
  return text;
}();

TEST(MemoryStream, CarriesEverythingHoweverItIsRead) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const Reads reads : {Reads::kWhole, Reads::kBytewise, Reads::kRandom}) {
      SimulatedRuntime runtime(seed);
      MemoryStreamShape shape;
      shape.reads = reads;
      shape.capacity = 100;
      const Outcome outcome = sync_wait(runtime, send(kText, shape));
      EXPECT_EQ(outcome.arrived, kText);
      EXPECT_TRUE(outcome.written);
      EXPECT_EQ(outcome.largest == 1, reads == Reads::kBytewise);
    }
  }
}

TEST(MemoryStream, BreaksAtTheByteThatWasAskedFor) {
  for (uint64_t cut = 0; cut <= kText.size(); cut += 7) {
    SimulatedRuntime runtime(cut);
    MemoryStreamShape shape;
    shape.cut_after = cut;
    const Outcome outcome = sync_wait(runtime, send(kText, shape));
    EXPECT_EQ(outcome.arrived, kText.substr(0, cut));
    EXPECT_FALSE(outcome.written);
  }
}

Task<ErrorCode> shut_down_while_reading() {
  auto [one, other] = memory_stream_pair();
  Scope scope;
  Result<void> read;
  auto wait = [](Stream& stream, Result<void>& result) -> Task<void> {
    std::byte byte;
    const MutableBuffers into(&byte, 1);
    result = co_await read_exactly(stream, into);
  };
  scope.spawn(wait(*one, read));
  co_await sleep_for(1000);
  one->shut_down();
  co_await scope.join();
  co_return read ? ErrorCode::kIo : read.error().code();
}

TEST(MemoryStream, ShuttingDownEndsWhatWaits) {
  SimulatedRuntime runtime(1);
  EXPECT_EQ(sync_wait(runtime, shut_down_while_reading()), ErrorCode::kClosed);
}

Task<std::string> across_loops(Loop& other_loop) {
  auto [from, to] = memory_stream_pair();
  Result<void> written;
  size_t largest = 0;
  Scope scope;
  scope.spawn(write_and_drop(std::move(from), kText, written));
  OnLoop<std::string> reading(other_loop, read_to_end(*to, largest));
  std::string got = co_await reading;
  co_await scope.join();
  co_return got;
}

TEST(MemoryStream, ItsEndsMayBeOnDifferentLoops) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimulatedRuntime runtime(seed, 2);
    EXPECT_EQ(sync_wait(runtime, across_loops(runtime.loop(1))), kText);
  }
  const auto threads = Runtime::create({.io_loops = 1});
  EXPECT_EQ(sync_wait(*threads, across_loops(threads->loop(1))), kText);
}

}  // namespace
}  // namespace ashlar::testing
