// Timers belong to the thread of their loop: from others, a post asks it to cancel.
#include "async/alarm.h"

#include <utility>

namespace ashlar {

template <typename Base>
std::shared_ptr<Alarm> Alarm::end_of(Posted& work) noexcept {
  return std::move(static_cast<Part<Base>&>(work).alarm);
}

void Alarm::set(uint64_t deadline_ns) {
  std::lock_guard lock(guard_);
  if (loop_ != nullptr) {
    if (deadline_ns < deadline_ns_) stop();  // it rings, and is set again
    return;
  }
  loop_ = &Loop::current();
  deadline_ns_ = deadline_ns;
  static_cast<IoOperation&>(timer_) = IoOperation::timer(deadline_ns);
  timer_.run = timer_ended;
  timer_.alarm = shared_from_this();
  loop_->submit(timer_);
}

void Alarm::clear() {
  std::lock_guard lock(guard_);
  if (loop_ != nullptr) stop();
}

void Alarm::stop() {
  if (std::exchange(stopping_, true)) return;
  nudge();
}

void Alarm::nudge() {
  nudge_.run = nudged;
  nudge_.alarm = shared_from_this();
  loop_->post(nudge_);
}

void Alarm::timer_ended(Posted& work) noexcept {
  const std::shared_ptr<Alarm> alarm = end_of<IoOperation>(work);
  {
    std::lock_guard lock(alarm->guard_);
    alarm->loop_ = nullptr;
  }
  alarm->ring_();
}

void Alarm::nudged(Posted& work) noexcept {
  const std::shared_ptr<Alarm> alarm = end_of<Posted>(work);
  {
    std::lock_guard lock(alarm->guard_);
    if (alarm->loop_ == &Loop::current()) {
      static_cast<IoOperation&>(alarm->cancel_) = IoOperation::cancel(alarm->timer_);
      alarm->cancel_.run = cancel_ended;
      alarm->cancel_.alarm = alarm;
      alarm->loop_->submit(alarm->cancel_);
      return;
    }
    // It rang meanwhile; and was set again elsewhere, perhaps.
    if (alarm->loop_ != nullptr) return alarm->nudge();
    alarm->stopping_ = false;
  }
  alarm->ring_();  // for who wanted to stop it while it was being stopped
}

void Alarm::cancel_ended(Posted& work) noexcept {
  const std::shared_ptr<Alarm> alarm = end_of<IoOperation>(work);
  {
    std::lock_guard lock(alarm->guard_);
    alarm->stopping_ = false;
  }
  alarm->ring_();
}

}  // namespace ashlar
