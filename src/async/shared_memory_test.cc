// The claims of shared memory, of events between processes, and of sockets that carry descriptors.
#include "async/shared_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>

#include "async/descriptor_socket.h"
#include "async/event_descriptor.h"

namespace ashlar {
namespace {

using Files = RuntimeOptions::FileBackend;

size_t open_descriptors() {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    (void)entry;
    ++count;
  }
  return count;
}

TEST(SharedMemory, IsSeenByEveryMapping) {
  auto made = SharedMemory::create("test", 10000);
  ASSERT_TRUE(made);
  const Result<SharedMemory> second = SharedMemory::map(made->second, {4096 + 5, 1000});
  ASSERT_TRUE(second);
  made->first.bytes()[4096 + 5 + 999] = std::byte{7};
  EXPECT_EQ(second->bytes().size(), 1000u);
  EXPECT_EQ(second->bytes()[999], std::byte{7});
}

TEST(SharedMemory, CannotBeMappedBeyondItsEnd) {
  auto made = SharedMemory::create("test", 8192);
  ASSERT_TRUE(made);
  for (const ByteRange& part : {ByteRange(0, 8193), ByteRange(8192, 1), ByteRange(0, 0),
                                ByteRange(~uint64_t{0}, 2), ByteRange(4096, ~uint64_t{0} - 4095)}) {
    const Result<SharedMemory> mapped = SharedMemory::map(made->second, part);
    ASSERT_FALSE(mapped) << part.offset << "+" << part.length;
    EXPECT_EQ(mapped.error().reason(), "memory-size");
  }
}

TEST(SharedMemory, OfWhatIsNoFileIsRefused) {
  const Result<OwnedDescriptor> event = create_event();
  EXPECT_EQ(SharedMemory::map(*event, {0, 4096}).error().reason(), "memory-size");
}

TEST(SharedMemory, ThatIsSealedCannotBeCut) {
  auto made = SharedMemory::create("test", 8192);
  ASSERT_TRUE(made);
  EXPECT_FALSE(truncate_shared(made->second, 4096));
}

TEST(SharedMemory, ThatWasCutReadsZeroAndSaysSo) {
  auto made = SharedMemory::create_unsealed("test", 64 * 4096);
  ASSERT_TRUE(made);
  auto other = SharedMemory::create_unsealed("other", 4096);
  const std::span<std::byte> bytes = made->first.bytes();
  std::ranges::fill(bytes, std::byte{9});
  ASSERT_TRUE(truncate_shared(made->second, 4096));
  EXPECT_EQ(bytes[0], std::byte{9});
  EXPECT_FALSE(made->first.broken());
  EXPECT_EQ(bytes[63 * 4096], std::byte{0}) << "instead of ending the process";
  EXPECT_TRUE(made->first.broken());
  bytes[62 * 4096] = std::byte{1};
  EXPECT_EQ(bytes[62 * 4096], std::byte{1});
  EXPECT_FALSE(other->first.broken()) << "only the mapping that was cut";
}

TEST(SharedMemory, LeavesOtherBusErrorsAlone) {
  const auto touch_unguarded = [] {
    const int fd = memfd_create("unguarded", MFD_CLOEXEC);
    volatile char* pages = static_cast<char*>(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
    auto guarded = SharedMemory::create("guarded", 4096);
    std::_Exit(pages[0]);
  };
  EXPECT_DEATH(touch_unguarded(), "");  // by the signal, or by a sanitizer that has its own handler
}

TEST(SharedMemory, GivesTheHandlerBack) {
  struct sigaction before = {};
  struct sigaction during = {};
  struct sigaction after = {};
  sigaction(SIGBUS, nullptr, &before);
  {
    auto made = SharedMemory::create("test", 4096);
    sigaction(SIGBUS, nullptr, &during);
  }
  sigaction(SIGBUS, nullptr, &after);
  EXPECT_EQ(after.sa_handler, before.sa_handler);
  EXPECT_NE(during.sa_handler, before.sa_handler);
}

class EventTest : public testing::TestWithParam<Files> {
 protected:
  std::unique_ptr<Runtime> runtime_ = Runtime::create({.files = GetParam()});
};

INSTANTIATE_TEST_SUITE_P(Engines, EventTest, testing::Values(Files::kAutomatic, Files::kThreads),
                         [](const auto& info) {
                           return info.param == Files::kAutomatic ? "Ring" : "Threads";
                         });

Task<Result<void>> wait_once(EventWaiter& waiter) { co_return co_await waiter.wait(); }

Task<bool> signal_and_wait(OwnedDescriptor ours, OwnedDescriptor theirs) {
  EventSignaller signaller;
  co_await signaller.set(std::move(theirs));
  EventWaiter waiter;
  waiter.set(std::move(ours));
  for (int i = 0; i < 3; ++i) signaller.signal();
  const Result<void> waited = co_await waiter.wait();
  co_await signaller.set(OwnedDescriptor());
  co_return bool(waited);
}

TEST_P(EventTest, SignalsWakeWhoWaits) {
  Result<OwnedDescriptor> event = create_event();
  Result<OwnedDescriptor> second = duplicate(*event);
  EXPECT_TRUE(sync_wait(*runtime_, signal_and_wait(std::move(*event), std::move(*second))));
}

Task<void> interrupt_soon(EventWaiter& waiter) {
  co_await yield();
  co_await yield();
  waiter.interrupt();
}

Task<bool> interrupted(EventWaiter& waiter) {
  Scope scope;
  scope.spawn(interrupt_soon(waiter));
  const Result<void> waited = co_await waiter.wait();
  co_await scope.join();
  co_return bool(waited);
}

TEST_P(EventTest, AWaitCanBeInterrupted) {
  EventWaiter waiter;
  waiter.set(std::move(*create_event()));
  EXPECT_TRUE(sync_wait(*runtime_, interrupted(waiter)));
  EXPECT_TRUE(sync_wait(*runtime_, wait_once(waiter))) << "at once";
}

Task<void> signal_a_full_event(OwnedDescriptor event) {
  EventSignaller signaller;
  co_await signaller.set(std::move(event));
  for (int count = 0; count < 200; ++count) {
    signaller.signal();
    co_await yield();
  }
  co_await signaller.set(OwnedDescriptor());
}

TEST_P(EventTest, ASignalThatNobodyTakesDoesNotHoldTheLoopUp) {
  // Without O_NONBLOCK, and full: what a hostile other side would hand over.
  OwnedDescriptor event(eventfd(0, EFD_CLOEXEC));
  const uint64_t most = ~uint64_t{1};
  ASSERT_EQ(write(event.get(), &most, sizeof most), static_cast<ssize_t>(sizeof most));
  sync_wait(*runtime_, signal_a_full_event(std::move(event)));
}

Task<uint64_t> count_signals(int event, OwnedDescriptor theirs) {
  EventSignaller signaller;
  co_await signaller.set(std::move(theirs));
  for (int count = 0; count < 1000; ++count) {
    signaller.signal();
    if (count % 10 == 0) co_await yield();
  }
  co_await signaller.set(OwnedDescriptor());
  uint64_t signals = 0;
  EXPECT_EQ(read(event, &signals, sizeof signals), static_cast<ssize_t>(sizeof signals));
  co_return signals;
}

TEST_P(EventTest, SignalsArriveAllOrAsOne) {
  const Result<OwnedDescriptor> event = create_event();
  const uint64_t signals =
      sync_wait(*runtime_, count_signals(event->get(), std::move(*duplicate(*event))));
  EXPECT_GE(signals, 64u);
  EXPECT_LE(signals, 1000u);
}

TEST(Event, IsAnEventOrAPipe) {
  EXPECT_TRUE(is_event(*create_event()));
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const OwnedDescriptor out(ends[0]);
  const OwnedDescriptor in(ends[1]);
  EXPECT_TRUE(is_event(out));
  EXPECT_FALSE(is_event(OwnedDescriptor(open("/dev/zero", O_RDONLY | O_CLOEXEC))));
  auto made = SharedMemory::create("test", 4096);
  EXPECT_FALSE(is_event(made->second));
  EXPECT_FALSE(is_event(OwnedDescriptor()));
}

Task<std::string> pass_descriptors(size_t count) {
  auto ends = DescriptorSocket::pair();
  const Result<OwnedDescriptor> event = create_event();
  const std::vector<int> sent(count, event->get());
  const std::vector<std::byte> bytes(100, std::byte{3});
  const Result<void> done = co_await ends->first.send(bytes, sent);
  if (!done) co_return "send";
  std::vector<std::byte> got(100);
  std::vector<OwnedDescriptor> received;
  const Result<void> came = co_await ends->second.receive(got, received);
  if (!came) co_return std::string(came.error().reason());
  if (got != bytes) co_return "bytes";
  co_return std::to_string(received.size());
}

TEST_P(EventTest, DescriptorsComeAlongWithBytesUpToTheLimit) {
  const size_t before = open_descriptors();
  EXPECT_EQ(sync_wait(*runtime_, pass_descriptors(0)), "0");
  EXPECT_EQ(sync_wait(*runtime_, pass_descriptors(8)), "8");
  EXPECT_EQ(sync_wait(*runtime_, pass_descriptors(16)), "16");
  EXPECT_EQ(sync_wait(*runtime_, pass_descriptors(17)), "socket-descriptors");
  EXPECT_EQ(sync_wait(*runtime_, pass_descriptors(253)), "socket-descriptors");
  EXPECT_LE(open_descriptors(), before + 4) << "the loop's own";
}

Task<std::string> receive_from_closed() {
  auto ends = DescriptorSocket::pair();
  ends->first = DescriptorSocket();
  std::vector<std::byte> got(1);
  std::vector<OwnedDescriptor> received;
  const Result<void> came = co_await ends->second.receive(got, received);
  co_return std::string(came.error().reason());
}

TEST_P(EventTest, AClosedSocketIsAnError) {
  EXPECT_EQ(sync_wait(*runtime_, receive_from_closed()), "socket-closed");
}

}  // namespace
}  // namespace ashlar
