// Random requests of several queues against a flat model; media that change and frontends that are
// lost while they are in flight.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/endian.h"
#include "testing/exported_disk.h"
#include "testing/flat_model.h"
#include "testing/seeded_random.h"

namespace ashlar::vhost {
namespace {

constexpr uint64_t kSize = 2_MiB;
constexpr uint64_t kLane = 64_KiB;  // what one worker writes to: requests in flight do not overlap

/// One of several guests' threads, each with sectors of its own.
struct Worker {
  Frontend& guest;
  FlatModel& model;
  uint16_t queue;
  uint64_t first;  // of its lane, in bytes
  SeededRandom random;
  int rounds;
  std::string problem{};
};

/// A range of whole sectors inside the lane.
ByteRange pick(Worker& self, uint64_t most) {
  const uint64_t sectors = self.random.between(1, most / 512);
  const uint64_t start = self.random.below(kLane / 512 - sectors + 1);
  return {self.first + start * 512, sectors * 512};
}

Task<bool> write_some(Worker& self) {
  const ByteRange range = pick(self, 32_KiB);
  Bytes data(range.length);
  self.random.fill(data);
  const FlatModel::ChangeId change = self.model.begin_write(range, data);
  Frontend::Demand demand;
  demand.type = kWrite;
  demand.sector = range.offset / 512;
  demand.from = data;
  const Result<Frontend::Completion> done = co_await self.guest.request(self.queue, demand);
  self.model.finish(change);
  co_return done && done->status == 0;
}

Task<bool> read_some(Worker& self) {
  const ByteRange range = pick(self, 32_KiB);
  Frontend::Demand demand;
  demand.sector = range.offset / 512;
  demand.into = static_cast<uint32_t>(range.length);
  const Result<Frontend::Completion> done = co_await self.guest.request(self.queue, demand);
  co_return done && done->status == 0 && done->length == range.length + 1 &&
      !self.model.mismatch(range.offset, done->data);
}

Task<bool> clear_some(Worker& self) {
  const ByteRange range = pick(self, kLane);
  const bool discard = self.random.one_in(2);
  const Bytes piece = range_bytes(range.offset / 512, static_cast<uint32_t>(range.length / 512), 0);
  const FlatModel::ChangeId change =
      discard ? self.model.begin_discard(range) : self.model.begin_zero(range);
  Frontend::Demand demand;
  demand.type = discard ? kDiscard : kWriteZeroes;
  demand.from = piece;
  const Result<Frontend::Completion> done = co_await self.guest.request(self.queue, demand);
  self.model.finish(change);
  co_return done && done->status == 0;
}

Task<bool> flush(Worker& self) {
  Frontend::Demand demand;
  demand.type = kFlush;
  const Result<Frontend::Completion> done = co_await self.guest.request(self.queue, demand);
  co_return done && done->status == 0;
}

Task<void> work(Worker& self) {
  for (int round = 0; round < self.rounds && self.problem.empty(); ++round) {
    bool good = false;
    const uint64_t choice = self.random.below(10);
    if (choice < 4) {
      good = co_await write_some(self);
    } else if (choice < 8) {
      good = co_await read_some(self);
    } else if (choice < 9) {
      good = co_await clear_some(self);
    } else {
      good = co_await flush(self);
    }
    if (!good) self.problem = "round " + std::to_string(round) + ", kind " + std::to_string(choice);
  }
}

struct Load {
  Load(Frontend& guest, uint16_t queues, uint64_t seed, int rounds) {
    for (uint64_t index = 0; index < kSize / kLane; ++index) {
      const auto queue = static_cast<uint16_t>(index % queues);
      workers.push_back(
          {guest, model, queue, index * kLane, SeededRandom(seed * 1000 + index), rounds});
    }
  }
  Task<void> run() {
    Scope scope;
    for (Worker& each : workers) scope.spawn(work(each));
    co_await scope.join();
  }
  std::string problems() const {
    std::string all;
    for (const Worker& each : workers) all += each.problem;
    return all;
  }

  FlatModel model{kSize};
  std::vector<Worker> workers;
};

struct Shape {
  std::string name;
  uint16_t queues = 1;
  unsigned io_loops = 0;
  std::string medium = "driver=memory,size=2M,discard=unmap";
  bool indirect = false;
};

class VhostModel : public testing::TestWithParam<Shape> {
 protected:
  ExportedDisk::Options options() {
    ExportedDisk::Options options;
    options.medium = GetParam().medium;
    options.options = "num-queues=" + std::to_string(GetParam().queues);
    options.io_loops = GetParam().io_loops;
    if (options.medium == "file") {
      const std::string path = folder_.file("disk");
      std::filesystem::resize_file(path, kSize);
      options.medium = "driver=file,discard=unmap,filename=" + path;
    }
    return options;
  }
  Frontend::Options frontend() const {
    Frontend::Options options;
    options.queues = GetParam().queues;
    options.indirect = GetParam().indirect;
    options.memory = 32_MiB;
    options.queue_size = 256;
    return options;
  }
  TemporaryFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(Shapes, VhostModel,
                         testing::Values(Shape{"OneQueue"}, Shape{"ThreeQueues", 3, 2},
                                         Shape{"Tables", 1, 1, "file", true},
                                         Shape{"File", 3, 1, "file"}),
                         [](const auto& info) { return info.param.name; });

bool same_as_model(ExportedDisk& disk, const FlatModel& model) {
  const auto bytes = disk.device().read({0, kSize});
  return bytes && !model.mismatch(0, *bytes);
}

TEST_P(VhostModel, HoldsUnderRandomRequests) {
  ExportedDisk disk(options());
  Frontend& guest = disk.connect(frontend());
  Load load(guest, GetParam().queues, 1, 60);
  disk.run(load.run());
  EXPECT_EQ(load.problems(), "");
  EXPECT_TRUE(same_as_model(disk, load.model));
}

Task<void> change_memory_meanwhile(Frontend& guest, Load& load, std::string& problem) {
  Scope scope;
  scope.spawn(load.run());
  for (int round = 0; round < 20; ++round) {
    Result<void> shared = co_await guest.share_memory();
    if (!shared) problem = shared.error().message();
    co_await sleep_for(200'000);
  }
  co_await scope.join();
}

TEST_P(VhostModel, HoldsWhileTheMemoryIsToldAgainAndAgain) {
  ExportedDisk disk(options());
  Frontend& guest = disk.connect(frontend());
  Load load(guest, GetParam().queues, 2, 40);
  std::string problem;
  disk.run(change_memory_meanwhile(guest, load, problem));
  EXPECT_EQ(problem + load.problems(), "");
  EXPECT_TRUE(same_as_model(disk, load.model));
}

Task<void> resize_meanwhile(ExportedDisk& disk, Load& load, std::string& problem) {
  Scope scope;
  scope.spawn(load.run());
  for (uint64_t round = 1; round <= 10; ++round) {
    Result<void> resized = co_await disk.device().backend().resize(kSize + round * 512, {});
    if (!resized) problem = resized.error().message();
    co_await sleep_for(300'000);
  }
  co_await scope.join();
}

TEST_P(VhostModel, HoldsWhileTheDiskGrows) {
  ExportedDisk disk(options());
  Frontend& guest = disk.connect(frontend());
  Load load(guest, GetParam().queues, 3, 40);
  std::string problem;
  disk.run(resize_meanwhile(disk, load, problem));
  EXPECT_EQ(problem + load.problems(), "");
  EXPECT_TRUE(same_as_model(disk, load.model));
  EXPECT_EQ(load_le<uint64_t>(disk.run(guest.config())->data()), kSize / 512 + 10);
}

TEST_P(VhostModel, HoldsWhenTheBackendIsLostAndComesBack) {
  ExportedDisk disk(options());
  Frontend& guest = disk.connect(frontend());
  Load load(guest, GetParam().queues, 4, 40);
  const auto lose = [](ExportedDisk& of, Frontend& its, Load& under, Result<void>& opened,
                       std::string path) -> Task<void> {
    Scope scope;
    scope.spawn(under.run());
    for (int round = 0; opened && round < 8; ++round) {
      co_await sleep_for(300'000);
      co_await its.disconnect();
      opened = co_await its.open(path);
    }
    (void)of;
    co_await scope.join();
  };
  Result<void> opened = ok();
  disk.run(lose(disk, guest, load, opened, disk.socket()));
  EXPECT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(load.problems(), "");
  EXPECT_TRUE(same_as_model(disk, load.model));
}

// --- News for the guest ---------------------------------------------------------------------

uint64_t capacity(ExportedDisk& disk, Frontend& guest) {
  return load_le<uint64_t>(disk.run(guest.config())->data());
}

TEST(VhostMedium, AResizeIsToldAndSeen) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  const uint64_t before = capacity(disk, guest);
  ASSERT_TRUE(disk.device().resize(before * 512 + 1_MiB));
  EXPECT_EQ(*disk.run(guest.next_news()), 2u);
  EXPECT_EQ(capacity(disk, guest), before + 2048);
  const Bytes data(512, std::byte{1});
  EXPECT_EQ(disk.request(guest, 0, {.type = kWrite, .sector = before + 2047, .from = data}).status,
            0);
}

TEST(VhostMedium, AnEjectAndAnInsertAreTold) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  ASSERT_TRUE(disk.device().close_medium());
  EXPECT_EQ(*disk.run(guest.next_news()), 2u);
  EXPECT_EQ(capacity(disk, guest), 0u);
  EXPECT_EQ(disk.request(guest, 0, {.type = kRead, .into = 512}).status, 1);
  ASSERT_TRUE(disk.device().open("driver=memory,size=1M"));
  EXPECT_EQ(*disk.run(guest.next_news()), 2u);
  EXPECT_EQ(capacity(disk, guest), 2048u);
  EXPECT_EQ(disk.request(guest, 0, {.type = kRead, .into = 512}).status, 0);
}

TEST(VhostMedium, WhoWantsNoNewsGetsNone) {
  ExportedDisk disk;
  Frontend& guest = disk.connect({.without_protocol = bit(ProtocolFeature::kBackendRequests)});
  ASSERT_TRUE(disk.device().resize(8_MiB));
  EXPECT_EQ(capacity(disk, guest), 16384u);
}

// --- The cache --------------------------------------------------------------------------------

/// How often the disk was told to make things durable, seen from below.
uint64_t flushes(ExportedDisk& disk) { return disk.device().backend().statistics().flushes; }

TEST(VhostCache, AGuestsFlushReachesTheDisk) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  const uint64_t before = flushes(disk);
  EXPECT_EQ(disk.request(guest, 0, {.type = kFlush}).status, 0);
  EXPECT_EQ(flushes(disk), before + 1);
}

Result<void> set_cache(ExportedDisk& disk, Frontend& guest, uint8_t value) {
  const Bytes byte{std::byte{value}};
  ConfigPart part;
  part.offset = 32;
  part.size = 1;
  part.bytes = byte;
  return disk.run(guest.command(Request::kSetConfig, encode_config(part)));
}

uint8_t cache(ExportedDisk& disk, Frontend& guest) {
  return std::to_integer<uint8_t>((*disk.run(guest.config()))[32]);
}

TEST(VhostCache, AGuestMayChooseWriteThroughAndBack) {
  ExportedDisk disk;
  Frontend& guest = disk.connect();
  EXPECT_EQ(cache(disk, guest), 1);
  ASSERT_TRUE(set_cache(disk, guest, 0));
  EXPECT_EQ(cache(disk, guest), 0);
  ASSERT_TRUE(set_cache(disk, guest, 1));
  EXPECT_EQ(cache(disk, guest), 1);
  EXPECT_FALSE(set_cache(disk, guest, 2));
}

TEST(VhostCache, WriteThroughThatTheUserAskedForStays) {
  ExportedDisk::Options options;
  options.write_through = true;
  ExportedDisk disk(options);
  Frontend& guest = disk.connect();
  EXPECT_EQ(cache(disk, guest), 0);
  EXPECT_FALSE(set_cache(disk, guest, 1));
  EXPECT_EQ(cache(disk, guest), 0);
}

TEST(VhostCache, ANewClientStartsWithWriteBack) {
  ExportedDisk disk;
  Frontend& first = disk.connect();
  ASSERT_TRUE(set_cache(disk, first, 0));
  disk.leave(first);
  EXPECT_EQ(cache(disk, disk.connect()), 1);
}

}  // namespace
}  // namespace ashlar::vhost
