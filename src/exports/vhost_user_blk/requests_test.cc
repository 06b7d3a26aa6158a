// What a guest gets for its requests, and what its driver is told of the device.
#include <gtest/gtest.h>

#include <string>

#include "base/endian.h"
#include "testing/exported_disk.h"

namespace ashlar::vhost {
namespace {

constexpr uint8_t kOk = 0;
constexpr uint8_t kFailed = 1;
constexpr uint8_t kUnsupported = 2;

Bytes pattern(size_t size, uint8_t value) { return Bytes(size, std::byte{value}); }

/// The ways in which a queue is used: each must do for everything.
struct Way {
  std::string name;
  unsigned io_loops = 0;
  Frontend::Options frontend;
  RuntimeOptions::FileBackend files = RuntimeOptions::FileBackend::kAutomatic;
};

class VhostRequests : public testing::TestWithParam<Way> {
 protected:
  ExportedDisk::Options options() const {
    ExportedDisk::Options options;
    options.io_loops = GetParam().io_loops;
    options.files = GetParam().files;
    return options;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Ways, VhostRequests,
    testing::Values(Way{"Plain", 0, {}}, Way{"OwnLoop", 1, {}},
                    Way{"Tables", 1, {.indirect = true}},
                    Way{"NoEventIndex", 1, {.without = bit(kRingEventIndex)}},
                    Way{"NoInFlight", 0, {.without_protocol = bit(ProtocolFeature::kInFlight)}},
                    Way{"ByRegion", 0, {.by_region = true}},
                    Way{"Threads", 1, {}, RuntimeOptions::FileBackend::kThreads}),
    [](const auto& info) { return info.param.name; });

TEST_P(VhostRequests, ReadBackWhatTheyWrote) {
  ExportedDisk disk(options());
  Frontend& guest = disk.connect(GetParam().frontend);
  const Bytes data = pattern(8192, 0x5a);
  const Frontend::Completion written =
      disk.request(guest, 0, {.type = kWrite, .sector = 3, .from = data});
  EXPECT_EQ(written.status, kOk);
  EXPECT_EQ(written.length, 1u);
  EXPECT_TRUE(disk.device().holds({3 * 512, 8192}, 0x5a));
  EXPECT_TRUE(disk.device().holds({0, 3 * 512}, 0));
  const Frontend::Completion read =
      disk.request(guest, 0, {.type = kRead, .sector = 3, .into = 8192});
  EXPECT_EQ(read.status, kOk);
  EXPECT_EQ(read.length, 8193u);
  EXPECT_EQ(read.data, data);
}

TEST_P(VhostRequests, AreAnsweredWhenThereIsOneAfterTheOther) {
  ExportedDisk disk(options());
  Frontend& guest = disk.connect(GetParam().frontend);
  for (uint32_t round = 0; round < 200; ++round) {
    const Bytes data = pattern(512, static_cast<uint8_t>(round));
    ASSERT_EQ(disk.request(guest, 0, {.type = kWrite, .sector = round, .from = data}).status, kOk);
  }
  for (uint32_t round = 0; round < 200; ++round) {
    const Frontend::Completion read =
        disk.request(guest, 0, {.type = kRead, .sector = round, .into = 512});
    ASSERT_EQ(read.data, pattern(512, static_cast<uint8_t>(round)));
  }
}

TEST(VhostRequest, BeyondTheEndFailsAndTouchesNothing) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  const uint64_t end = disk.device().size() / 512;
  const Bytes data = pattern(1024, 1);
  for (const uint64_t sector : {end - 1, end, end + 1, uint64_t{1} << 55, ~uint64_t{0}}) {
    EXPECT_EQ(disk.request(guest, 0, {.type = kWrite, .sector = sector, .from = data}).status,
              kFailed);
    const Frontend::Completion read =
        disk.request(guest, 0, {.type = kRead, .sector = sector, .into = 1024});
    EXPECT_EQ(read.status, kFailed);
    EXPECT_EQ(read.length, 0u) << "the guest may not trust a byte of it";
  }
  EXPECT_TRUE(disk.device().holds({0, disk.device().size()}, 0));
}

TEST(VhostRequest, OfUnalignedLengthFails) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  EXPECT_EQ(disk.request(guest, 0, {.type = kRead, .into = 511}).status, kFailed);
  EXPECT_EQ(disk.request(guest, 0, {.type = kWrite, .from = pattern(513, 1)}).status, kFailed);
}

TEST(VhostRequest, IsHeldToTheBlockSizeThatWasTold) {
  ExportedDisk::Options options;
  options.options = "logical-block-size=4k";
  ExportedDisk disk(options);
  Frontend& guest = disk.connect();
  EXPECT_EQ(disk.request(guest, 0, {.type = kRead, .sector = 8, .into = 4096}).status, kOk);
  EXPECT_EQ(disk.request(guest, 0, {.type = kRead, .sector = 1, .into = 4096}).status, kFailed);
  EXPECT_EQ(disk.request(guest, 0, {.type = kRead, .sector = 8, .into = 512}).status, kFailed);
}

TEST(VhostRequest, OfAnUnknownTypeIsUnsupported) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  for (const uint32_t type : {2u, 3u, 5u, 9u, 10u, 14u, 15u, 16u, 0x80000000u, 0xffffffffu}) {
    const Frontend::Completion done = disk.request(guest, 0, {.type = type, .into = 64});
    EXPECT_EQ(done.status, kUnsupported) << type;
    EXPECT_EQ(done.length, 0u);
    EXPECT_EQ(done.data, pattern(64, 0xee)) << "nothing was written but the status";
  }
}

TEST(VhostRequest, ForTheSerialNumberFillsWhatItIsLong) {
  ExportedDisk::Options options;
  options.options = "serial=disk-7";
  ExportedDisk disk(options);
  Frontend& guest = disk.connect();
  const Frontend::Completion done = disk.request(guest, 0, {.type = kIdentify, .into = 64});
  EXPECT_EQ(done.status, kOk);
  EXPECT_EQ(done.length, 20u);
  const std::string serial(reinterpret_cast<const char*>(done.data.data()), 20);
  EXPECT_EQ(serial, std::string("disk-7") + std::string(14, '\0'));
  EXPECT_EQ(done.data[20], std::byte{0xee});
}

TEST(VhostRequest, ToDiscardFreesAndReadsZero) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  ASSERT_TRUE(disk.device().write_pattern({0, 1_MiB}, 7));
  const Bytes pieces = [] {
    Bytes two = range_bytes(0, 256, 0);
    const Bytes more = range_bytes(1024, 512, 0);
    two.insert(two.end(), more.begin(), more.end());
    return two;
  }();
  EXPECT_EQ(disk.request(guest, 0, {.type = kDiscard, .from = pieces}).status, kOk);
  EXPECT_TRUE(disk.device().holds({0, 128_KiB}, 0));
  EXPECT_TRUE(disk.device().holds({128_KiB, 384_KiB}, 7));
  EXPECT_TRUE(disk.device().holds({512_KiB, 256_KiB}, 0));
  EXPECT_TRUE(disk.device().holds({768_KiB, 256_KiB}, 7));
}

TEST(VhostRequest, ToWriteZeroesWritesThemWithAndWithoutUnmap) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  ASSERT_TRUE(disk.device().write_pattern({0, 1_MiB}, 7));
  for (const uint32_t unmap : {0u, 1u}) {
    const uint64_t first = 100 + 500 * uint64_t{unmap};
    const Bytes piece = range_bytes(first, 17, unmap);
    EXPECT_EQ(disk.request(guest, 0, {.type = kWriteZeroes, .from = piece}).status, kOk);
    EXPECT_TRUE(disk.device().holds({first * 512, 17 * 512}, 0));
  }
  EXPECT_TRUE(disk.device().holds({117 * 512, 483 * 512}, 7));
}

TEST(VhostRequest, WithBadRangesIsRefusedAsTheSpecificationSays) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  ASSERT_TRUE(disk.device().write_pattern({0, disk.device().size()}, 7));
  struct Case {
    uint32_t type;
    Bytes ranges;
    uint8_t status;
  };
  Bytes too_many;
  for (int i = 0; i < 33; ++i) {
    const Bytes one = range_bytes(0, 1, 0);
    too_many.insert(too_many.end(), one.begin(), one.end());
  }
  const std::vector<Case> cases{
      {kDiscard, range_bytes(0, 8, 1), kUnsupported},      // unmap is for zeroes only
      {kDiscard, range_bytes(0, 8, 2), kUnsupported},      // a flag nobody knows
      {kWriteZeroes, range_bytes(0, 8, 2), kUnsupported},  //
      {kDiscard, range_bytes(8191, 2, 0), kFailed},        // over the end
      {kDiscard, range_bytes(~uint64_t{0}, 2, 0), kFailed},
      {kWriteZeroes, range_bytes(0, 0xffffffff, 0), kFailed},  // more than was told
      {kDiscard, pattern(15, 0), kFailed},
      {kDiscard, pattern(0, 0), kFailed},
      {kDiscard, too_many, kFailed},
  };
  for (const Case& each : cases) {
    EXPECT_EQ(disk.request(guest, 0, {.type = each.type, .from = each.ranges}).status, each.status);
  }
  EXPECT_TRUE(disk.device().holds({0, disk.device().size()}, 7));
}

TEST(VhostRequest, ThatWritesFailsOnAReadOnlyExport) {
  ExportedDisk::Options options;
  options.writable = false;
  ExportedDisk disk(options);
  Frontend& guest = disk.connect();
  EXPECT_NE(guest.features() & bit(5), 0u);
  EXPECT_EQ(guest.features() & (bit(11) | bit(13) | bit(14)), 0u);
  EXPECT_EQ(disk.request(guest, 0, {.type = kWrite, .from = pattern(512, 1)}).status, kFailed);
  EXPECT_EQ(disk.request(guest, 0, {.type = kDiscard, .from = range_bytes(0, 1, 0)}).status,
            kFailed);
  EXPECT_EQ(disk.request(guest, 0, {.type = kRead, .into = 512}).status, kOk);
  EXPECT_EQ(disk.request(guest, 0, {.type = kFlush}).status, kOk);
}

TEST(VhostRequest, FailsWithoutAMedium) {
  ExportedDisk::Options options;
  options.medium = "";
  ExportedDisk disk(options);
  Frontend& guest = disk.connect();
  EXPECT_EQ(disk.request(guest, 0, {.type = kRead, .into = 512}).status, kFailed);
  EXPECT_EQ(disk.request(guest, 0, {.type = kFlush}).status, kFailed);
  EXPECT_EQ(load_le<uint64_t>(disk.run(guest.config())->data()), 0u);
}

TEST(VhostConfig, TellsTheDevice) {
  ExportedDisk::Options options;
  options.options = "logical-block-size=1024,num-queues=3";
  ExportedDisk disk(options);
  Frontend& guest = disk.connect({.queues = 3});
  const Bytes config = *disk.run(guest.config());
  const auto at = [&config]<typename T>(size_t offset, T) {
    return load_le<T>(config.data() + offset);
  };
  EXPECT_EQ(at(0, uint64_t{}), disk.device().size() / 512);
  EXPECT_EQ(at(12, uint32_t{}), 126u);
  EXPECT_EQ(at(20, uint32_t{}), 1024u);
  EXPECT_EQ(at(32, uint8_t{}), 1) << "write-back, so that the guest flushes";
  EXPECT_EQ(at(34, uint16_t{}), 3);
  EXPECT_GE(at(36, uint32_t{}), 32768u);
  EXPECT_EQ(at(44, uint32_t{}), 2u);
  EXPECT_GE(at(48, uint32_t{}), 32768u);
  EXPECT_EQ(at(56, uint8_t{}), 1);
  EXPECT_EQ(*disk.run(guest.ask_number(Request::kGetQueueCount)), 3u);
}

}  // namespace
}  // namespace ashlar::vhost
