// Letting requests of a group in: what may go on, who is next, and when to look again.
#include "backend/throttle_group.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include "ashlar/loop.h"

namespace ashlar {
namespace {

using Limits = ThrottleLimits;

constexpr size_t index_of(ThrottleDirection direction) { return static_cast<size_t>(direction); }

constexpr std::array kBoth{ThrottleDirection::kRead, ThrottleDirection::kWrite};

/// The four kinds that count for a direction.
constexpr std::array<std::array<Limits::Kind, 4>, 2> kKindsOf{{
    {Limits::kBytesTotal, Limits::kBytesRead, Limits::kRequestsTotal, Limits::kRequestsRead},
    {Limits::kBytesTotal, Limits::kBytesWrite, Limits::kRequestsTotal, Limits::kRequestsWrite},
}};
constexpr bool counts_bytes(Limits::Kind kind) { return kind < Limits::kRequestsTotal; }

/// What may come at once where no burst is allowed.
constexpr uint64_t kSlackNs = 100'000'000;

}  // namespace

std::shared_ptr<ThrottleGroup> ThrottleGroup::create(std::string name) {
  return ThrottleGroupState::create(std::move(name));
}

std::shared_ptr<ThrottleGroupState> ThrottleGroupState::create(std::string name) {
  // The alarm may ring once more after the group has gone.
  auto find = std::make_shared<std::weak_ptr<ThrottleGroupState>>();
  auto ring = [find] {
    if (const auto group = find->lock()) group->look_again();
  };
  auto group = std::make_shared<ThrottleGroupState>(std::move(name), std::make_shared<Alarm>(ring));
  *find = group;
  return group;
}

ThrottleGroupState::~ThrottleGroupState() {
  assert(members_.empty());
  alarm_->clear();
}

ThrottleLimits ThrottleGroupState::limits() const {
  std::lock_guard lock(guard_);
  return limits_;
}

size_t ThrottleGroupState::members() const {
  std::lock_guard lock(guard_);
  return members_.size();
}

Result<void> ThrottleGroupState::set_limits(const ThrottleLimits& limits) {
  if (Result<void> sound = limits.check(); !sound) return sound;
  Waiter* woken = nullptr;
  {
    std::lock_guard lock(guard_);
    limits_ = limits;
    configure();
    woken = schedule();
  }
  Waiter::wake_all(woken);
  return ok();
}

void ThrottleGroupState::configure() {
  bool limited = false;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    const ThrottleLimits::Rate& rate = limits_.rates[i];
    buckets_[i] = {};
    if (rate.average == 0) continue;
    limited = true;
    if (rate.burst == 0) {
      buckets_[i].longer = LeakyBucket::with_slack(rate.average, kSlackNs);
      continue;
    }
    buckets_[i].longer = LeakyBucket(rate.average, rate.burst * rate.burst_seconds);
    if (rate.burst_seconds > 1) buckets_[i].shorter = LeakyBucket::with_slack(rate.burst, kSlackNs);
  }
  limited_.store(limited, std::memory_order_release);
}

uint64_t ThrottleGroupState::wait_ns(ThrottleDirection direction, uint64_t now_ns) const noexcept {
  uint64_t longest = 0;
  for (const Limits::Kind kind : kKindsOf[index_of(direction)]) {
    longest = std::max(longest, buckets_[kind].longer.wait_ns(now_ns));
    longest = std::max(longest, buckets_[kind].shorter.wait_ns(now_ns));
  }
  return longest;
}

void ThrottleGroupState::account(ThrottleDirection direction, uint64_t bytes,
                                 uint64_t now_ns) noexcept {
  const uint64_t unit = std::max<uint64_t>(limits_.request_size, 1);
  const uint64_t requests = limits_.request_size == 0 ? 1 : std::max(bytes, unit);
  for (const Limits::Kind kind : kKindsOf[index_of(direction)]) {
    const uint64_t units = counts_bytes(kind) ? bytes : requests;
    const uint64_t scale = counts_bytes(kind) ? 1 : unit;
    buckets_[kind].longer.pour(now_ns, units, scale);
    buckets_[kind].shorter.pour(now_ns, units, scale);
  }
}

bool ThrottleGroupState::admit_at_once(const Request& request) {
  const uint64_t now = Loop::current().now_ns();
  std::lock_guard lock(guard_);
  const bool others_wait = waiting_[0] != 0 || waiting_[1] != 0;
  const bool may_go = !others_wait && wait_ns(request.direction, now) == 0;
  if (!may_go && !request.member.lifted_()) return false;
  account(request.direction, request.bytes, now);
  return true;
}

/// False when it may go on at once after all.
bool ThrottleGroupState::enqueue(Request& request) {
  Waiter* woken = nullptr;
  {
    std::lock_guard lock(guard_);
    if (request.member.lifted_()) {  // since it was asked; release() may have been here already
      account(request.direction, request.bytes, Loop::current().now_ns());
      return false;
    }
    request.member.waiting_[index_of(request.direction)].push(request);
    ++waiting_[index_of(request.direction)];
    woken = schedule();
  }
  // Among them may be this request: it is resumed by its loop, after this call.
  Waiter::wake_all(woken);
  return true;
}

void ThrottleGroupState::release(ThrottleMember& member) {
  WaitList woken;
  Waiter* also_woken = nullptr;
  {
    std::lock_guard lock(guard_);
    const uint64_t now = Loop::current().now_ns();
    for (const ThrottleDirection direction : kBoth) {
      WaitList& queue = member.waiting_[index_of(direction)];
      while (Waiter* waiter = queue.pop()) {
        account(direction, static_cast<Request*>(waiter)->bytes, now);
        --waiting_[index_of(direction)];
        woken.push(*waiter);
      }
    }
    also_woken = schedule();
  }
  Waiter::wake_all(woken.take_all());
  Waiter::wake_all(also_woken);
}

ThrottleMember* ThrottleGroupState::next_waiting(ThrottleDirection direction) const noexcept {
  if (waiting_[index_of(direction)] == 0) return nullptr;
  for (size_t i = 0; i < members_.size(); ++i) {
    ThrottleMember* member = members_[(turn_[index_of(direction)] + i) % members_.size()];
    if (!member->waiting_[index_of(direction)].empty()) return member;
  }
  std::unreachable();
}

bool ThrottleGroupState::let_in_one(uint64_t now_ns, WaitList& woken) {
  const bool read_last = served_last_ == ThrottleDirection::kRead;
  const ThrottleDirection first = read_last ? ThrottleDirection::kWrite : ThrottleDirection::kRead;
  for (const ThrottleDirection direction : {first, served_last_}) {
    ThrottleMember* member = next_waiting(direction);
    if (member == nullptr || wait_ns(direction, now_ns) != 0) continue;
    Waiter* waiter = member->waiting_[index_of(direction)].pop();
    account(direction, static_cast<Request*>(waiter)->bytes, now_ns);
    --waiting_[index_of(direction)];
    const auto at = std::ranges::find(members_, member) - members_.begin();
    turn_[index_of(direction)] = static_cast<size_t>(at) + 1;
    served_last_ = direction;
    woken.push(*waiter);
    return true;
  }
  return false;
}

/// Lets in what may go on now, sets the alarm for the rest, and gives who is to be woken.
Waiter* ThrottleGroupState::schedule() {
  if (waiting_[0] == 0 && waiting_[1] == 0) {
    alarm_->clear();
    return nullptr;
  }
  const uint64_t now = Loop::current().now_ns();
  WaitList woken;
  while (let_in_one(now, woken)) {
  }
  uint64_t deadline = std::numeric_limits<uint64_t>::max();
  for (const ThrottleDirection direction : kBoth) {
    if (waiting_[index_of(direction)] == 0) continue;
    deadline = std::min(deadline, now + wait_ns(direction, now));
  }
  if (waiting_[0] != 0 || waiting_[1] != 0) {
    alarm_->set(deadline);
  } else {
    alarm_->clear();
  }
  return woken.take_all();
}

void ThrottleGroupState::look_again() {
  Waiter* woken = nullptr;
  {
    std::lock_guard lock(guard_);
    woken = schedule();
  }
  Waiter::wake_all(woken);
}

ThrottleMember::ThrottleMember(std::shared_ptr<ThrottleGroup> group, std::function<bool()> lifted)
    : group_(std::static_pointer_cast<ThrottleGroupState>(std::move(group))),
      lifted_(std::move(lifted)) {
  std::lock_guard lock(group_->guard_);
  group_->members_.push_back(this);
}

ThrottleMember::~ThrottleMember() {
  assert(waiting_[0].empty() && waiting_[1].empty());
  std::lock_guard lock(group_->guard_);
  const auto at =
      static_cast<size_t>(std::ranges::find(group_->members_, this) - group_->members_.begin());
  group_->members_.erase(group_->members_.begin() + static_cast<ptrdiff_t>(at));
  for (size_t& turn : group_->turn_) {
    if (turn > at) --turn;  // the others keep their turns
  }
}

}  // namespace ashlar
