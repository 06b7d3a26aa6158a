// What each message of a client does, and what happens to those that are wrong.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/endian.h"
#include "testing/exported_disk.h"

namespace ashlar::vhost {
namespace {

size_t open_descriptors() {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    (void)entry;
    ++count;
  }
  return count;
}

bool refused(const Result<void>& result) {
  return !result && result.error().reason() == "frontend-refused";
}

Bytes state(uint32_t index, uint32_t number) {
  RingState ring;
  ring.index = index;
  ring.number = number;
  return encode_ring_state(ring);
}

bool works(ExportedDisk& disk, Frontend& guest) {
  return disk.request(guest, 0, {.type = kRead, .into = 4096}).status == 0;
}

TEST(VhostMessages, FeaturesAreThoseOfTheDeviceAndItsRings) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  const uint64_t features = *disk.run(guest.ask_number(Request::kGetFeatures));
  for (const unsigned each : {2u, 6u, 9u, 10u, 11u, 12u, 13u, 14u, 28u, 29u, 30u, 32u}) {
    EXPECT_NE(features & bit(each), 0u) << each;
  }
  EXPECT_EQ(features & bit(5), 0u);
  EXPECT_EQ(features & bit(26), 0u) << "written pages are not logged";
}

TEST(VhostMessages, QueuesAndMemoryHaveLimitsThatCanBeAsked) {
  ExportedDisk::Options options;
  options.options = "num-queues=5";
  ExportedDisk disk(options);
  Frontend& guest = disk.connect();
  EXPECT_EQ(*disk.run(guest.ask_number(Request::kGetQueueCount)), 5u);
  EXPECT_EQ(*disk.run(guest.ask_number(Request::kGetMostMemoryRegions)), 256u);
}

TEST(VhostMessages, UnknownProtocolFeaturesAreRefused) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  EXPECT_TRUE(
      refused(disk.run(guest.command(Request::kSetProtocolFeatures, encode_number(bit(40))))));
  EXPECT_TRUE(works(disk, guest)) << "a refusal that was told is no end";
}

TEST(VhostMessages, OfAFeatureThatWasNotAgreedOnAreRefused) {
  ExportedDisk disk;
  Frontend& guest = disk.connect({.without_protocol = bit(ProtocolFeature::kStatus) |
                                                      bit(ProtocolFeature::kMemorySlots) |
                                                      bit(ProtocolFeature::kResetDevice)});
  EXPECT_TRUE(refused(disk.run(guest.command(Request::kSetStatus, encode_number(0)))));
  EXPECT_TRUE(refused(disk.run(guest.command(Request::kResetDevice, {}))));
  EXPECT_TRUE(refused(disk.run(
      guest.command(Request::kRemoveMemoryRegion, encode_memory_region(guest.whole_memory())))));
  EXPECT_TRUE(works(disk, guest));
}

TEST(VhostMessages, ThatFailWithoutBeingAskedForAnAnswerEndTheConnection) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  ASSERT_TRUE(disk.run(guest.send(Request::kSetRingSize, state(0, 3))));
  EXPECT_EQ(disk.end_of(guest), "vhost-ring-size");
  EXPECT_TRUE(works(disk, disk.connect())) << "and only that";
}

TEST(VhostMessages, WrongOnesAreRefusedAndTheQueueGoesOn) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  RingAddresses nowhere;
  nowhere.descriptors = Frontend::kUserBase - 16;
  nowhere.available = Frontend::kUserBase;
  nowhere.used = Frontend::kUserBase + 4096;
  struct Case {
    Request request;
    Bytes payload;
  };
  const std::vector<Case> cases{
      {Request::kSetRingSize, state(0, 0)},
      {Request::kSetRingSize, state(0, 24)},
      {Request::kSetRingSize, state(0, 2048)},
      {Request::kSetRingSize, state(0, 0x80000000)},
      {Request::kSetRingSize, state(1, 64)},
      {Request::kSetRingBase, state(0, 65536)},
      {Request::kSetRingBase, state(7, 0)},
      {Request::kSetRingEnable, state(0, 2)},
      {Request::kSetRingEnable, state(256, 1)},
      {Request::kGetRingBase, state(1, 0)},
      {Request::kSetConfig, Bytes(12)},
      {Request::kSetRingSize, Bytes(7)},
      {Request::kSetRingAddresses, Bytes(39)},
      {Request::kSetFeatures, Bytes(4)},
      {Request::kSetOwner, Bytes(1)},
      {static_cast<Request>(0), {}},
      {static_cast<Request>(6), encode_number(0)},  // no log of written pages
      {static_cast<Request>(22), Bytes(26)},        // no IOMMU
      {static_cast<Request>(99), {}},
      {static_cast<Request>(0xffffffff), {}},
  };
  for (const Case& each : cases) {
    EXPECT_TRUE(refused(disk.run(guest.command(each.request, each.payload))))
        << static_cast<uint32_t>(each.request);
  }
  EXPECT_TRUE(works(disk, guest));
  EXPECT_TRUE(
      refused(disk.run(guest.command(Request::kSetRingAddresses, encode_ring_addresses(nowhere)))));
}

TEST(VhostMessages, WithABadHeaderEndTheConnection) {
  ExportedDisk disk;
  for (const uint32_t flags : {0u, 2u, 3u, 1u | Header::kReply}) {
    Frontend& guest = disk.connect();
    ASSERT_TRUE(disk.run(guest.send(Request::kSetOwner, {}, {}, flags)));
    EXPECT_EQ(disk.end_of(guest), "vhost-message") << flags;
  }
  Frontend& guest = disk.connect();
  ASSERT_TRUE(disk.run(guest.send(Request::kSetOwner, Bytes(513))));
  EXPECT_EQ(disk.end_of(guest), "vhost-message");
}

/// Sends one message with `count` descriptors on a connection of its own.
void send_with_descriptors(ExportedDisk& disk, uint32_t request, size_t count) {
  const Result<OwnedDescriptor> event = create_event();
  Frontend& guest = disk.frontend();
  ASSERT_TRUE(disk.run(guest.connect(disk.socket())));
  const std::vector<int> descriptors(count, event->get());
  (void)disk.run(guest.send(static_cast<Request>(request), encode_number(0), descriptors));
  disk.leave(guest);
}

TEST(VhostMessages, WithAnyNumberOfDescriptorsLeakNone) {
  ExportedDisk disk;
  send_with_descriptors(disk, 1, 0);
  const size_t before = open_descriptors();
  for (uint32_t request = 0; request <= 41; ++request) {
    for (const size_t count : {0, 1, 8, 9, 253}) send_with_descriptors(disk, request, count);
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_TRUE(works(disk, disk.connect()));
}

TEST(VhostMessages, WithDescriptorsThatAreNotDueEndTheConnection) {
  ExportedDisk disk;
  const Result<OwnedDescriptor> event = create_event();
  const std::vector<int> one{event->get()};
  const std::vector<int> two{event->get(), event->get()};
  struct Case {
    Request request;
    Bytes payload;
    std::vector<int> descriptors;
  };
  const std::vector<Case> cases{
      {Request::kSetOwner, {}, one},
      {Request::kSetRingKick, encode_number(0), {}},
      {Request::kSetRingKick, encode_number(0x100), one},
      {Request::kSetRingCall, encode_number(0), two},
      {Request::kSetBackendChannel, {}, {}},
      {Request::kAddMemoryRegion, encode_memory_region({}), {}},
      {Request::kSetMemoryTable, encode_memory_table(std::vector<Region>(2)), one},
      {Request::kSetInFlight, Bytes(24), two},
  };
  for (const Case& each : cases) {
    Frontend& guest = disk.connect();
    ASSERT_TRUE(disk.run(guest.send(each.request, each.payload, each.descriptors)));
    EXPECT_EQ(disk.end_of(guest), "vhost-descriptors") << static_cast<uint32_t>(each.request);
  }
}

TEST(VhostMessages, NoEventsAreTakenThatAreNone) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  const std::vector<int> file{guest.memory_file().get()};
  for (const Request each :
       {Request::kSetRingKick, Request::kSetRingCall, Request::kSetRingError}) {
    EXPECT_TRUE(refused(disk.run(guest.command(each, encode_number(0), file))));
  }
  EXPECT_TRUE(works(disk, guest));
}

TEST(VhostMessages, AreCutOffAnywhereWithoutHarm) {
  ExportedDisk disk;
  for (size_t length = 1; length < Header::kSize + 8; ++length) {
    Frontend& guest = disk.frontend();
    ASSERT_TRUE(disk.run(guest.connect(disk.socket())));
    Header header;
    header.request = static_cast<uint32_t>(Request::kSetFeatures);
    header.flags = Header::kVersion;
    header.size = 8;
    const auto encoded = header.encode();
    Bytes bytes(encoded.begin(), encoded.end());
    bytes.resize(length);
    ASSERT_TRUE(disk.run(guest.socket().send(bytes)));
    disk.leave(guest);
    EXPECT_EQ(disk.running().last_end()->reason(), "socket-closed");
  }
  EXPECT_TRUE(works(disk, disk.connect()));
}

TEST(VhostMessages, MemoryThatIsWrongIsRefused) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  const std::vector<int> file{guest.memory_file().get()};
  const uint64_t size = guest.whole_memory().size;
  const uint64_t high = uint64_t{1} << 63;
  const std::vector<Region> wrong{
      {.guest_address = high, .size = 0, .user_address = high, .file_offset = 0},
      {.guest_address = ~uint64_t{0}, .size = 2, .user_address = high, .file_offset = 0},
      {.guest_address = high, .size = 2, .user_address = ~uint64_t{0}, .file_offset = 0},
      {.guest_address = high, .size = 2, .user_address = high, .file_offset = ~uint64_t{0}},
      {.guest_address = high, .size = size, .user_address = high, .file_offset = 1},
      {.guest_address = high, .size = high - 1, .user_address = high, .file_offset = 0},
      {.guest_address = size - 1, .size = 4096, .user_address = high, .file_offset = 0},
      {.guest_address = high, .size = 4096, .user_address = Frontend::kUserBase, .file_offset = 0},
  };
  for (const Region& each : wrong) {
    EXPECT_TRUE(refused(
        disk.run(guest.command(Request::kAddMemoryRegion, encode_memory_region(each), file))));
  }
  Region unknown = guest.whole_memory();
  unknown.size -= 1;
  EXPECT_TRUE(refused(
      disk.run(guest.command(Request::kRemoveMemoryRegion, encode_memory_region(unknown)))));
  EXPECT_TRUE(works(disk, guest));
}

TEST(VhostMessages, MemoryComesAndGoesWhileTheQueueRuns) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  auto more = SharedMemory::create("more", 1_MiB);
  const std::vector<int> file{more->second.get()};
  Region region;
  region.guest_address = uint64_t{1} << 40;
  region.size = 1_MiB;
  region.user_address = uint64_t{1} << 50;
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(
        disk.run(guest.command(Request::kAddMemoryRegion, encode_memory_region(region), file)));
    EXPECT_TRUE(works(disk, guest));
    ASSERT_TRUE(
        disk.run(guest.command(Request::kRemoveMemoryRegion, encode_memory_region(region))));
    EXPECT_TRUE(works(disk, guest));
    ASSERT_TRUE(disk.run(guest.share_memory())) << "the whole table anew";
    EXPECT_TRUE(works(disk, guest));
  }
}

TEST(VhostMessages, AStoppedQueueSaysWhereItIsAndGoesOnFromThere) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  for (int count = 0; count < 5; ++count) ASSERT_TRUE(works(disk, guest));
  EXPECT_EQ(*disk.run(guest.stop_queue(0)), 5);
  (void)guest.place(0, {.type = kRead, .into = 512});
  disk.run(guest.kick_always(0));
  EXPECT_EQ(guest.ring(0).used_index(), 5) << "nothing is served while it is stopped";
  ASSERT_TRUE(disk.run(guest.start_queue(0)));
  EXPECT_TRUE(works(disk, guest));
  EXPECT_EQ(guest.ring(0).used_index(), 7);
}

TEST(VhostMessages, ADisabledQueueWaitsUntilItIsEnabled) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  ASSERT_TRUE(disk.run(guest.command(Request::kSetRingEnable, state(0, 0))));
  const Frontend::Placed placed = guest.place(0, {.type = kRead, .into = 512});
  disk.run(guest.kick_always(0));
  ASSERT_TRUE(disk.run(guest.ask_number(Request::kGetFeatures)));
  EXPECT_EQ(guest.memory()[placed.status], std::byte{0xff});
  ASSERT_TRUE(disk.run(guest.command(Request::kSetRingEnable, state(0, 1))));
  EXPECT_TRUE(works(disk, guest));
  EXPECT_EQ(guest.memory()[placed.status], std::byte{0});
}

TEST(VhostMessages, AQueueWithoutAKickDescriptorLooksForItself) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  RingEvent none;
  none.has_descriptor = false;
  ASSERT_TRUE(disk.run(guest.command(Request::kSetRingKick, encode_ring_event(none))));
  EXPECT_TRUE(works(disk, guest));
  EXPECT_TRUE(works(disk, guest));
}

TEST(VhostMessages, StatusIsKeptAndItsZeroResets) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  ASSERT_TRUE(disk.run(guest.command(Request::kSetStatus, encode_number(0xf))));
  EXPECT_EQ(*disk.run(guest.ask_number(Request::kGetStatus)), 0xfu);
  ASSERT_TRUE(works(disk, guest));
  ASSERT_TRUE(disk.run(guest.command(Request::kSetStatus, encode_number(0))));
  EXPECT_EQ(*disk.run(guest.ask_number(Request::kGetStatus)), 0u);
  EXPECT_EQ(*disk.run(guest.stop_queue(0)), 0) << "it had forgotten where it was";
}

TEST(VhostMessages, AResetDeviceCanBeStartedAgain) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  ASSERT_TRUE(works(disk, guest));
  ASSERT_TRUE(disk.run(guest.command(Request::kResetDevice, {})));
  ASSERT_TRUE(disk.run(guest.command(Request::kSetFeatures, encode_number(guest.features()))));
  ASSERT_TRUE(disk.run(guest.start_queue(0)));
  EXPECT_TRUE(works(disk, guest));
}

TEST(VhostMessages, OnlyOneClientIsServedAtATime) {
  ExportedDisk disk;
  Frontend& first = disk.connect();
  EXPECT_TRUE(disk.running().in_use());
  Frontend& second = disk.frontend();
  Scope scope;
  Result<void> opened = ok();
  bool done = false;
  const auto open_second = [](Frontend& guest, std::string path, Result<void>& result,
                              bool& ended) -> Task<void> {
    result = co_await guest.open(std::move(path));
    ended = true;
  };
  const auto spawn = [](Scope& into, Task<void> task) -> Task<void> {
    into.spawn(std::move(task));
    co_return;
  };
  disk.run(spawn(scope, open_second(second, disk.socket(), opened, done)));
  ASSERT_TRUE(works(disk, first));
  EXPECT_FALSE(done);
  disk.leave(first);
  disk.run(scope.join());
  EXPECT_TRUE(opened);
  EXPECT_TRUE(works(disk, second));
}

}  // namespace
}  // namespace ashlar::vhost
