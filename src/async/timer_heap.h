// The timers of one loop, soonest first; those of one moment in order of arrival.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "async/io_operation.h"

namespace ashlar {

class TimerHeap {
 public:
  bool empty() const noexcept { return timers_.empty(); }
  size_t size() const noexcept { return timers_.size(); }

  /// Deadline of the soonest. Requires one.
  uint64_t next_ns() const noexcept { return timers_.front().deadline_ns; }

  void add(IoOperation& timer) {
    timers_.push_back({timer.offset, sequence_++, &timer});
    std::push_heap(timers_.begin(), timers_.end(), later);
  }

  /// The soonest timer whose deadline is not after `now_ns`, or null.
  IoOperation* pop_due(uint64_t now_ns) noexcept {
    if (timers_.empty() || timers_.front().deadline_ns > now_ns) return nullptr;
    return pop();
  }
  /// The soonest timer, due or not. Requires one.
  IoOperation* pop() noexcept {
    std::pop_heap(timers_.begin(), timers_.end(), later);
    IoOperation* timer = timers_.back().operation;
    timers_.pop_back();
    return timer;
  }

  /// Takes `timer` out if it is here. It is not looked into: it may be gone already.
  bool remove(const IoOperation* timer) noexcept {
    auto found = std::find_if(timers_.begin(), timers_.end(),
                              [timer](const Entry& entry) { return entry.operation == timer; });
    if (found == timers_.end()) return false;
    *found = timers_.back();
    timers_.pop_back();
    std::make_heap(timers_.begin(), timers_.end(), later);
    return true;
  }

 private:
  struct Entry {
    uint64_t deadline_ns;
    uint64_t sequence;
    IoOperation* operation;
  };
  static bool later(const Entry& a, const Entry& b) noexcept {
    return a.deadline_ns != b.deadline_ns ? a.deadline_ns > b.deadline_ns : a.sequence > b.sequence;
  }

  std::vector<Entry> timers_;
  uint64_t sequence_ = 0;
};

}  // namespace ashlar
