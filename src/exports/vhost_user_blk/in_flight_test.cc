// The log of requests in flight: what the next process finds wherever this one was killed.
#include "exports/vhost_user_blk/in_flight.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "testing/exported_disk.h"
#include "testing/seeded_random.h"

namespace ashlar::vhost {
namespace {

constexpr uint16_t kSize = 8;

class Log {
 public:
  /// What a process that starts now takes up.
  Result<InFlightLog> open(uint16_t used_index) {
    resumed = {};
    return InFlightLog::open(area, kSize, used_index, resumed);
  }
  std::vector<std::byte> area = std::vector<std::byte>(InFlightLog::size_for(kSize));
  InFlightLog::Resumed resumed;
};

TEST(VhostInFlight, AFreshLogHasNothing) {
  Log log;
  ASSERT_TRUE(log.open(100));
  EXPECT_TRUE(log.resumed.heads.empty());
}

TEST(VhostInFlight, WhatWasTakenIsResumedInThatOrder) {
  Log log;
  Result<InFlightLog> first = log.open(0);
  for (const uint16_t head : {5, 1, 7, 2}) first->take(head);
  ASSERT_TRUE(log.open(0));
  EXPECT_EQ(log.resumed.heads, (std::vector<uint16_t>{5, 1, 7, 2}));
}

TEST(VhostInFlight, WhatWasAnsweredIsNotResumed) {
  Log log;
  Result<InFlightLog> first = log.open(0);
  for (const uint16_t head : {5, 1, 7, 2}) first->take(head);
  const std::vector<uint16_t> answered{1, 2};
  for (const uint16_t head : answered) first->answer(head);
  first->published(answered, 2);
  ASSERT_TRUE(log.open(2));
  EXPECT_EQ(log.resumed.heads, (std::vector<uint16_t>{5, 7}));
}

TEST(VhostInFlight, ABatchThatWasShownButNotNotedIsNotResumed) {
  Log log;
  Result<InFlightLog> first = log.open(65534);
  for (const uint16_t head : {5, 1, 7, 2}) first->take(head);
  for (const uint16_t head : {7, 5, 2}) first->answer(head);
  ASSERT_TRUE(log.open(1)) << "killed after the ring's index moved, over its end";
  EXPECT_EQ(log.resumed.heads, (std::vector<uint16_t>{1}));
}

TEST(VhostInFlight, AnAnswerThatWasNotShownIsResumed) {
  Log log;
  Result<InFlightLog> first = log.open(0);
  first->take(3);
  first->answer(3);
  ASSERT_TRUE(log.open(0));
  EXPECT_EQ(log.resumed.heads, (std::vector<uint16_t>{3}));
}

TEST(VhostInFlight, GoesOnAfterAResumption) {
  Log log;
  Result<InFlightLog> first = log.open(0);
  first->take(4);
  Result<InFlightLog> second = log.open(0);
  second->take(0);
  ASSERT_TRUE(log.open(0));
  EXPECT_EQ(log.resumed.heads, (std::vector<uint16_t>{4, 0})) << "the older one first";
}

TEST(VhostInFlight, OfAnotherSizeOrVersionIsRefused) {
  Log log;
  ASSERT_TRUE(log.open(0));
  InFlightLog::Resumed resumed;
  EXPECT_EQ(InFlightLog::open(log.area, 4, 0, resumed).error().reason(), "vhost-in-flight");
  EXPECT_EQ(InFlightLog::open(log.area, 16, 0, resumed).error().reason(), "vhost-in-flight");
  log.area[8] = std::byte{2};
  EXPECT_EQ(log.open(0).error().reason(), "vhost-in-flight");
}

TEST(VhostInFlight, ThatIsFarFromTheRingIsRefused) {
  Log log;
  ASSERT_TRUE(log.open(0));
  EXPECT_EQ(log.open(kSize + 1).error().reason(), "vhost-in-flight");
  EXPECT_EQ(log.open(65535).error().reason(), "vhost-in-flight");
}

TEST(VhostInFlight, RandomKillsLoseNothingAndRepeatNothingThatWasShown) {
  SeededRandom random(3);
  for (int history = 0; history < 300; ++history) {
    Log log;
    Result<InFlightLog> now = log.open(0);
    std::vector<uint16_t> in_flight;  // in the order they were taken
    std::vector<uint16_t> answered;
    uint16_t used = 0;
    for (int step = 0; step < 60; ++step) {
      const auto head = static_cast<uint16_t>(random.below(kSize));
      const bool known = std::ranges::find(in_flight, head) != in_flight.end();
      const bool waits = std::ranges::find(answered, head) != answered.end();
      if (!known) {
        now->take(head);
        in_flight.push_back(head);
      } else if (!waits && random.one_in(2)) {
        now->answer(head);
        answered.push_back(head);
      } else if (!answered.empty() && random.one_in(3)) {
        used = static_cast<uint16_t>(used + answered.size());
        for (const uint16_t each : answered) std::erase(in_flight, each);
        if (random.one_in(2)) {  // killed between showing and noting
          now = log.open(used);
        } else {
          now->published(answered, used);
        }
        answered.clear();
      } else if (random.one_in(4)) {
        now = log.open(used);
        ASSERT_TRUE(now);
        ASSERT_EQ(log.resumed.heads, in_flight);
        answered.clear();
      }
      ASSERT_TRUE(now);
    }
  }
}

TEST(VhostInFlight, RequestsOfAKilledBackendAreAnsweredOnceByTheNext) {
  ExportedDisk disk;
  ASSERT_TRUE(disk.device().write_pattern({0, 64_KiB}, 7));
  Frontend& guest = disk.connect();
  ASSERT_TRUE(disk.run(guest.stop_queue(0)));
  std::vector<Frontend::Placed> placed;
  for (uint64_t sector = 0; sector < 3; ++sector) {
    placed.push_back(guest.place(0, {.type = kRead, .sector = sector, .into = 512}));
  }
  // As a process leaves it that took the first two, in the other order, and was killed.
  InFlightLog::Resumed none;
  Result<InFlightLog> log =
      InFlightLog::open(guest.in_flight_log(), 64, guest.ring(0).used_index(), none);
  ASSERT_TRUE(log);
  log->take(placed[1].head);
  log->take(placed[0].head);
  ASSERT_TRUE(disk.run(guest.start_queue(0)));
  const Frontend::Completion fourth = disk.request(guest, 0, {.type = kRead, .into = 512});
  EXPECT_EQ(fourth.status, 0);
  EXPECT_EQ(guest.ring(0).used_index(), 4) << "each was answered once";
  for (const Frontend::Placed& each : placed) {
    EXPECT_EQ(guest.memory()[each.status], std::byte{0});
    EXPECT_EQ(guest.memory()[each.data], std::byte{7});
  }
}

}  // namespace
}  // namespace ashlar::vhost
