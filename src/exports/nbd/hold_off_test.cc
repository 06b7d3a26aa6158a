// When the server lets requests gather: against a model of clients and what calls cost.
#include "exports/nbd/hold_off.h"

#include <gtest/gtest.h>

#include <utility>

namespace ashlar::nbd {
namespace {

/// A client on a core of its own that sends a request for each reply it has handled, with at most
/// `depth` in flight, and a server on another one.
struct Model {
  uint64_t depth = 1;
  uint64_t client_ns = 4000;   ///< of the client for a reply and the next request
  uint64_t wake_ns = 2000;     ///< more, when it had to wait for the reply
  uint64_t receive_ns = 5000;  ///< of the server for each receive, with its send
  uint64_t request_ns = 2500;  ///< more, for each request in it
  uint64_t disturb_ns = 2500;  ///< of the client, for each send of the server
  uint64_t think_ns = 0;       ///< before each request: a client that has no more to ask
};

struct Seen {
  uint64_t receives = 0;
  uint64_t pauses = 0;
  uint64_t ns = 0;
};

/// Lets the client send `total` requests. It works on replies in the order they come.
Seen serve(const Model& model, uint64_t total) {
  HoldOff hold_off;
  Seen seen;
  uint64_t now = 0;                // of the server
  uint64_t client_now = 0;         // when the client can handle the next reply
  uint64_t replies = model.depth;  // that the client has, or may have made up at the start
  uint64_t replied_at = 0;
  uint64_t arrived = 0;
  uint64_t done = 0;
  const auto run_client_until = [&](uint64_t end) {
    while (replies != 0) {
      const bool waited = client_now < replied_at;
      const uint64_t start = waited ? replied_at + model.wake_ns : client_now;
      const uint64_t sent = start + model.client_ns + model.think_ns;
      if (sent > end) return sent;
      client_now = sent;
      --replies;
      ++arrived;
    }
    return UINT64_MAX;
  };
  while (done < total) {
    const uint64_t next = run_client_until(now);
    if (arrived == 0) {
      now = next;
      continue;
    }
    const uint64_t batch = std::exchange(arrived, 0);
    now += model.receive_ns + batch * model.request_ns;
    run_client_until(now);
    if (replies == 0) replied_at = now;
    client_now += model.disturb_ns;
    replies += batch;
    done += batch;
    ++seen.receives;
    if (!hold_off.pause_after(batch, now)) continue;
    ++seen.pauses;
    now += HoldOff::kPauseNs;
  }
  seen.ns = now;
  return seen;
}

constexpr uint64_t kMany = 1'000'000;

TEST(HoldOff, AClientWithManyRequestsInFlightIsLetGatherThem) {
  Model model;
  model.depth = 32;
  const Seen seen = serve(model, kMany);
  EXPECT_GT(seen.pauses * 10, seen.receives * 8);
  EXPECT_GT(kMany, seen.receives * 3);
}

TEST(HoldOff, AClientThatWaitsForEachReplyIsNeverHeldUp) {
  EXPECT_EQ(serve(Model(), kMany).pauses, 0U);
}

TEST(HoldOff, AFewInFlightAreHeldUpNoMoreThanToFindOut) {
  for (const uint64_t depth : {2, 3, 4}) {
    Model model;
    model.depth = depth;
    const Seen seen = serve(model, kMany);
    EXPECT_LT(seen.pauses * 50, seen.receives) << depth;
  }
}

TEST(HoldOff, AClientThatAsksRarelyIsNotHeldUp) {
  Model model;
  model.depth = 32;
  model.think_ns = 40'000;
  EXPECT_EQ(serve(model, kMany / 10).pauses, 0U);
}

TEST(HoldOff, AFewSingleRequestsEndPauses) {
  HoldOff hold_off;
  uint64_t now = 0;
  bool pausing = false;
  for (int receive = 0; receive < 1000 && !pausing; ++receive) {
    pausing = hold_off.pause_after(8, now += 30'000);
  }
  ASSERT_TRUE(pausing);
  for (int receive = 0; receive < 3; ++receive) pausing = hold_off.pause_after(1, now += 30'000);
  EXPECT_FALSE(pausing);
}

}  // namespace
}  // namespace ashlar::nbd
