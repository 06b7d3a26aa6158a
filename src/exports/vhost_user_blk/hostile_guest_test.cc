// Guests that break the rules of virtqueues: each loses its own connection, and nothing else
// happens.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/endian.h"
#include "testing/exported_disk.h"
#include "testing/seeded_random.h"

namespace ashlar::vhost {
namespace {

constexpr uint16_t kNext = Descriptor::kNext;
constexpr uint16_t kWrites = Descriptor::kWrite;
constexpr uint16_t kTable = Descriptor::kIndirect;
constexpr uint64_t kTop = ~uint64_t{0};

/// What a hostile guest puts where; the ring is made available with `heads` afterwards.
struct Attack {
  std::string name;
  std::vector<Descriptor> table;          ///< the ring's descriptors from 0 on
  std::vector<Descriptor> other_table{};  ///< at kOtherTable
  std::vector<uint16_t> heads{0};
  std::string reason = "vhost-chain";
};

constexpr uint64_t kMemory = 4_MiB;
constexpr uint64_t kHeader = 2_MiB;  // of a read of sector 0
constexpr uint64_t kData = 2_MiB + 4096;
constexpr uint64_t kOtherTable = 3_MiB;

Descriptor make(uint64_t address, uint32_t length, uint16_t flags = 0, uint16_t next = 0) {
  Descriptor descriptor;
  descriptor.address = address;
  descriptor.length = length;
  descriptor.flags = flags;
  descriptor.next = next;
  return descriptor;
}

const Descriptor header = make(kHeader, 16, kNext, 1);
const Descriptor status = make(kData, 1, kWrites);

std::vector<Attack> attacks() {
  return {
      {"HeadOutOfRange", {}, {}, {64}, "vhost-head"},
      {"HeadFarOutOfRange", {}, {}, {0xffff}, "vhost-head"},
      {"NextOutOfRange", {make(kHeader, 16, kNext, 64), status}},
      {"Loop", {make(kHeader, 16, kNext, 1), make(kHeader, 16, kNext, 0)}},
      {"LoopToItself", {make(kHeader, 16, kNext, 0)}},
      {"NoMemoryThere", {make(kMemory, 16, kNext, 1), status}},
      {"OverTheEnd", {make(kMemory - 8, 16, kNext, 1), status}},
      {"AddressWraps", {make(kTop - 7, 16, kNext, 1), status}},
      {"LengthOf4GiB", {header, make(kData, 0xffffffff, kWrites)}},
      {"BufferOfNothing", {make(kHeader, 0, kNext, 1), status}},
      {"ReadBehindWrite", {make(kData, 1, kWrites | kNext, 1), make(kHeader, 16)}},
      {"NoStatus", {make(kHeader, 16)}, {}, {0}, "vhost-request"},
      {"NoHeader", {status}, {}, {0}, "vhost-request"},
      {"ShortHeader", {make(kHeader, 15, kNext, 1), status}, {}, {0}, "vhost-request"},
      {"TableInTable",
       {make(kOtherTable, 32, kTable)},
       {make(kHeader, 16, kNext, 1), make(kOtherTable, 32, kTable)}},
      {"TableAndNext", {make(kOtherTable, 32, kTable | kNext, 1), status}, {header, status}},
      {"TableOfOddLength", {make(kOtherTable, 33, kTable)}, {header, status}},
      {"TableOfNothing", {make(kOtherTable, 0, kTable)}, {header, status}},
      {"TableNowhere", {make(kMemory, 32, kTable)}},
      {"TableOverTheEnd", {make(kMemory - 16, 32, kTable)}},
      {"TableWraps", {make(kTop - 15, 32, kTable)}},
      {"TableOf4GiB", {make(kOtherTable, 0xfffffff0, kTable)}, {make(kHeader, 16, kNext, 0)}},
      {"TableNextOutOfRange", {make(kOtherTable, 32, kTable)}, {make(kHeader, 16, kNext, 2)}},
      {"TableLoop", {make(kOtherTable, 32, kTable)}, {header, make(kHeader, 16, kNext, 0)}},
  };
}

/// Whether another client is served as if nothing had been.
bool serves_others(ExportedDisk& disk) {
  Frontend& guest = disk.connect();
  const bool works = disk.request(guest, 0, {.type = kRead, .into = 512}).status == 0;
  disk.leave(guest);
  return works;
}

void put(Frontend& guest, const Attack& attack) {
  GuestRing& ring = guest.ring(0);
  for (size_t index = 0; index < attack.table.size(); ++index) {
    ring.set_descriptor(static_cast<uint16_t>(index), attack.table[index]);
  }
  for (size_t index = 0; index < attack.other_table.size(); ++index) {
    GuestRing::store_descriptor(guest.memory().subspan(kOtherTable + 16 * index, 16),
                                attack.other_table[index]);
  }
  for (size_t index = 0; index < attack.heads.size(); ++index) {
    ring.set_head(static_cast<uint16_t>(index), attack.heads[index]);
  }
  ring.set_available_index(static_cast<uint16_t>(attack.heads.size()));
}

TEST(VhostHostile, ChainsEndTheirConnectionAlone) {
  ExportedDisk disk;
  ASSERT_TRUE(disk.device().write_pattern({0, 1_MiB}, 7));
  for (const Attack& attack : attacks()) {
    SCOPED_TRACE(attack.name);
    Frontend& guest = disk.connect({.memory = kMemory});
    put(guest, attack);
    disk.run(guest.kick_always(0));
    EXPECT_EQ(disk.end_of(guest), attack.reason) << attack.name;
  }
  EXPECT_TRUE(serves_others(disk));
  EXPECT_TRUE(disk.device().holds({0, 1_MiB}, 7));
}

TEST(VhostHostile, TablesThatWereNotAgreedOnEndTheConnection) {
  ExportedDisk disk;
  Frontend& guest = disk.connect({.memory = kMemory, .without = bit(kRingIndirect)});
  put(guest, {"", {make(kOtherTable, 32, kTable)}, {header, status}});
  disk.run(guest.kick_always(0));
  EXPECT_EQ(disk.end_of(guest), "vhost-chain");
}

TEST(VhostHostile, AnIndexThatJumpsEndsTheConnection) {
  ExportedDisk disk;
  for (const uint16_t index : {65, 1000, 0xffff}) {
    Frontend& guest = disk.connect({.memory = kMemory});
    guest.ring(0).set_available_index(index);
    disk.run(guest.kick_always(0));
    EXPECT_EQ(disk.end_of(guest), "vhost-ring-index") << index;
  }
  EXPECT_TRUE(serves_others(disk));
}

TEST(VhostHostile, AHeadThatIsInFlightCannotComeAgain) {
  ExportedDisk::Options options;
  options.medium = "driver=null-co,size=4M,latency-ns=20000000";
  ExportedDisk disk(options);
  Frontend& guest = disk.connect({.memory = kMemory});
  put(guest, {"", {header, make(kData, 513, kWrites)}, {}, {0, 0}});
  disk.run(guest.kick_always(0));
  EXPECT_EQ(disk.end_of(guest), "vhost-head");
  EXPECT_EQ(guest.ring(0).used_index(), 1) << "the first was answered all the same";
}

TEST(VhostHostile, BuffersMayBeAnythingThatIsMapped) {
  ExportedDisk disk;
  Frontend& guest = disk.connect({.memory = kMemory});
  // The data goes over the header, the status byte over the data, all over the ring itself.
  const uint64_t ring = guest.ring(0).descriptors_at();
  put(guest, {"",
              {make(kHeader, 16, kNext, 1), make(kHeader - 256, 512, kWrites | kNext, 2),
               make(kHeader, 1, kWrites)}});
  disk.run(guest.kick_always(0));
  disk.run(sleep_for(5'000'000));
  EXPECT_EQ(guest.ring(0).used_index(), 1);
  guest.ring(0).set_descriptor(1, make(ring, 1024, kWrites | kNext, 2));
  guest.ring(0).set_head(1, 0);
  guest.ring(0).set_available_index(2);
  disk.run(guest.kick_always(0));
  disk.run(sleep_for(5'000'000));
  disk.leave(guest);
  EXPECT_TRUE(serves_others(disk));
}

TEST(VhostHostile, MemoryThatIsCutOffEndsTheConnectionAlone) {
  ExportedDisk disk;
  ASSERT_TRUE(disk.device().write_pattern({0, 1_MiB}, 7));
  for (const uint64_t left : {uint64_t{0}, uint64_t{64_KiB}, kHeader, kData}) {
    Frontend& guest = disk.connect({.memory = kMemory, .sealed = false});
    put(guest, {"", {header, make(kData, 64_KiB, kWrites | kNext, 2), status}});
    guest.ring(0).set_available_index(1);
    ASSERT_TRUE(truncate_shared(guest.memory_file(), left));
    disk.run(guest.kick_always(0));
    const std::string reason = disk.end_of(guest);
    EXPECT_TRUE(reason == "vhost-memory" || reason.starts_with("vhost-")) << reason;
  }
  EXPECT_TRUE(serves_others(disk));
  EXPECT_TRUE(disk.device().holds({0, 1_MiB}, 7));
}

TEST(VhostHostile, ALogFullOfNonsenseEndsTheConnectionAlone) {
  ExportedDisk disk;
  SeededRandom random(7);
  for (int round = 0; round < 50; ++round) {
    Frontend& guest =
        disk.frontend({.memory = kMemory, .without_protocol = bit(ProtocolFeature::kInFlight)});
    ASSERT_TRUE(disk.run(guest.connect(disk.socket())));
    ASSERT_TRUE(disk.run(guest.send(
        Request::kSetProtocolFeatures,
        encode_number(bit(ProtocolFeature::kInFlight) | bit(ProtocolFeature::kReplyAck)))));
    InFlightArea area;
    area.queues = 1;
    area.queue_size = 64;
    area.size = InFlightLog::size_for(64);
    auto made = SharedMemory::create("log", area.size);
    random.fill(made->first.bytes());
    if (round % 2 == 0) {  // or only the entries, behind a header that is right
      const std::span<std::byte> start = made->first.bytes().first(16);
      std::ranges::fill(start, std::byte{0});
      store_le<uint16_t>(start.data() + 8, 1);
      store_le<uint16_t>(start.data() + 10, 64);
    }
    const std::vector<int> file{made->second.get()};
    ASSERT_TRUE(disk.run(guest.command(Request::kSetInFlight, encode_in_flight(area), file)));
    (void)disk.run(guest.start());
    disk.leave(guest);
  }
  EXPECT_TRUE(serves_others(disk));
}

}  // namespace
}  // namespace ashlar::vhost
