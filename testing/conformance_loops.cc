// The cases of the conformance suite in which several loops use a device at once.
#include <algorithm>
#include <memory>
#include <vector>

#include "async/on_loop.h"
#include "async/sync.h"
#include "testing/conformance_bench.h"

namespace ashlar::conformance {
namespace {

/// One of several users of a device. Each has its own bytes: every `users`-th stripe.
struct User {
  Backend* backend = nullptr;
  unsigned number = 0;
  unsigned users = 1;
  uint64_t stripe = 0;
  uint64_t device_size = 0;
  unsigned rounds = 0;
  std::string failure;
  std::vector<std::byte> bytes;  // of its stripes, one after the other
};

ByteRange stripe_of(const User& user, uint64_t index) {
  const uint64_t offset = (index * user.users + user.number) * user.stripe;
  return {offset, user.stripe};
}
uint64_t stripes_of(const User& user) { return user.device_size / user.stripe / user.users; }

/// Writes, zeroes, and reads back one stripe of its own. Reads of all stripes go on around it.
Task<Result<void>> use_stripe(User& user, SeededRandom& random, uint64_t index) {
  const ByteRange range = stripe_of(user, index);
  const std::span<std::byte> mine = std::span(user.bytes).subspan(index * user.stripe, user.stripe);
  Result<void> done;
  if (random.one_in(5)) {
    std::ranges::fill(mine, std::byte{0});
    ZeroFlags flags;
    flags.may_unmap = random.one_in(2);
    done = co_await user.backend->write_zeroes(range, flags);
  } else {
    random.fill(mine);
    const ConstBuffers from(mine.data(), mine.size());
    WriteFlags flags;
    done = co_await user.backend->write(range, from, flags);
  }
  if (!done) co_return done;
  std::vector<std::byte> read(range.length);
  const MutableBuffers into(read.data(), read.size());
  done = co_await user.backend->read(range, into);
  if (!done) co_return done;
  if (!std::ranges::equal(read, mine)) user.failure = "read something else at " + describe(range);
  if (random.one_in(100)) co_return co_await user.backend->flush();
  co_return ok();
}

Task<void> use_device(User& user) {
  SeededRandom random(user.number + 1);
  for (unsigned round = 0; round < user.rounds && user.failure.empty(); ++round) {
    Result<void> done = co_await use_stripe(user, random, random.below(stripes_of(user)));
    if (!done) user.failure = done.error().message();
  }
}

Task<void> run_on(Loop& loop, User& user) {
  OnLoop<void> running(loop, use_device(user));
  co_await running;
}

Task<void> run_all(Runtime& runtime, std::vector<User>& users) {
  Scope scope;
  for (User& user : users) {
    scope.spawn(run_on(runtime.loop(user.number % runtime.loop_count()), user));
  }
  co_await scope.join();
}

/// Lets several users per loop work on interleaved stripes, then compares the whole device.
void interleave(Bench& bench, uint64_t stripe, unsigned rounds) {
  if (!bench.keeps_data()) return;
  bench.write({0, kSize});
  const unsigned count = bench.device().runtime().loop_count() * 3;
  std::vector<User> users(count);
  for (unsigned number = 0; number < count; ++number) {
    User& user = users[number];
    user = {&bench.device().backend(), number, count, stripe, kSize, rounds, {}, {}};
    for (uint64_t index = 0; index < stripes_of(user); ++index) {
      const auto from =
          bench.model().begin() + static_cast<ptrdiff_t>(stripe_of(user, index).offset);
      user.bytes.insert(user.bytes.end(), from, from + static_cast<ptrdiff_t>(stripe));
    }
  }
  Runtime& runtime = bench.device().runtime();
  sync_wait(runtime, run_all(runtime, users));
  for (const User& user : users) {
    if (!user.failure.empty()) bench.report(user.failure);
    for (uint64_t index = 0; index < stripes_of(user); ++index) {
      const auto to = bench.model().begin() + static_cast<ptrdiff_t>(stripe_of(user, index).offset);
      std::copy_n(user.bytes.begin() + static_cast<ptrdiff_t>(index * stripe), stripe, to);
    }
  }
  bench.check_all();
}

}  // namespace

void from_several_loops(Bench& bench) { interleave(bench, 4096, 150); }

/// Stripes that share blocks and clusters: who writes a part must not bring back old bytes of the
/// rest.
void neighbours_at_once(Bench& bench) { interleave(bench, 333, 150); }

}  // namespace ashlar::conformance
