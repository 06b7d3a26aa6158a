// A throttle group at work: buckets, members that wait in turn, and the alarm that lets them go on.
#pragma once

#include <array>
#include <atomic>
#include <coroutine>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ashlar/throttle.h"
#include "async/alarm.h"
#include "async/sync.h"
#include "backend/leaky_bucket.h"

namespace ashlar {

class ThrottleMember;
enum class ThrottleDirection : uint8_t { kRead, kWrite };

/// Requests of all members are let in as the limits allow: in order for each member and direction,
/// members in turn, reads and writes in turn. Whoever waits is woken on its own loop.
class ThrottleGroupState final : public ThrottleGroup {
 public:
  static std::shared_ptr<ThrottleGroupState> create(std::string name);
  ThrottleGroupState(std::string name, std::shared_ptr<Alarm> alarm)
      : name_(std::move(name)), alarm_(std::move(alarm)) {}
  ~ThrottleGroupState() override;

  const std::string& name() const noexcept override { return name_; }
  ThrottleLimits limits() const override;
  Result<void> set_limits(const ThrottleLimits& limits) override;
  size_t members() const override;

 private:
  friend class ThrottleMember;
  static constexpr size_t kDirections = 2;
  struct Request;
  struct Buckets {
    LeakyBucket longer;   // the average, with room for a burst
    LeakyBucket shorter;  // the rate in a burst
  };

  bool admit_at_once(const Request& request);
  bool enqueue(Request& request);
  void release(ThrottleMember& member);
  void look_again();

  // All under guard_.
  void configure();
  uint64_t wait_ns(ThrottleDirection direction, uint64_t now_ns) const noexcept;
  void account(ThrottleDirection direction, uint64_t bytes, uint64_t now_ns) noexcept;
  ThrottleMember* next_waiting(ThrottleDirection direction) const noexcept;
  /// Lets in what may go on now, sets the alarm for the rest, and gives who is to be woken.
  Waiter* schedule();
  bool let_in_one(uint64_t now_ns, WaitList& woken);

  const std::string name_;
  std::atomic<bool> limited_{false};
  mutable std::mutex guard_;
  ThrottleLimits limits_;
  std::array<Buckets, ThrottleLimits::kKinds> buckets_;
  std::vector<ThrottleMember*> members_;
  std::array<size_t, kDirections> turn_{};  // the member to look at first
  std::array<size_t, kDirections> waiting_{};
  ThrottleDirection served_last_ = ThrottleDirection::kWrite;
  const std::shared_ptr<Alarm> alarm_;
};

/// One user of a group. Requests from any loop; the rest from one at a time.
class ThrottleMember {
 public:
  /// `lifted` says whether limits are off for this member just now: its user is being drained.
  /// Called from any loop, and must not use the group.
  ThrottleMember(std::shared_ptr<ThrottleGroup> group, std::function<bool()> lifted);
  ThrottleMember(const ThrottleMember&) = delete;
  /// Nobody waits any more.
  ~ThrottleMember();

  class AdmitAwaiter;
  /// Awaitable: continues when the limits allow a request of `bytes`, which then counts.
  AdmitAwaiter admit(ThrottleDirection direction, uint64_t bytes);
  /// Lets in all that wait, after `lifted` has come to say so.
  void release() { group_->release(*this); }
  std::shared_ptr<ThrottleGroup> group() const noexcept { return group_; }

 private:
  friend class ThrottleGroupState;
  std::shared_ptr<ThrottleGroupState> group_;
  std::function<bool()> lifted_;
  std::array<WaitList, ThrottleGroupState::kDirections> waiting_;  // under the group's guard
};

struct ThrottleGroupState::Request : Waiter {
  Request(ThrottleMember& of, ThrottleDirection to, uint64_t size)
      : member(of), direction(to), bytes(size) {}
  ThrottleMember& member;
  ThrottleDirection direction;
  uint64_t bytes;
};

class ThrottleMember::AdmitAwaiter : ThrottleGroupState::Request {
 public:
  using Request::Request;
  bool await_ready() noexcept {
    return !member.group_->limited_.load(std::memory_order_acquire) ||
           member.group_->admit_at_once(*this);
  }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    prepare(self);
    return member.group_->enqueue(*this);
  }
  void await_resume() const noexcept {}
};

inline ThrottleMember::AdmitAwaiter ThrottleMember::admit(ThrottleDirection direction,
                                                          uint64_t bytes) {
  return {*this, direction, bytes};
}

}  // namespace ashlar
