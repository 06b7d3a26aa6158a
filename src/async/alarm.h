// A timer that is set, moved and stopped from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "async/io_operation.h"

namespace ashlar {

/// Calls back at a deadline, on the loop that set it. It may also call when nothing is due: who is
/// called looks what there is to do, and sets it again.
class Alarm : public std::enable_shared_from_this<Alarm> {
 public:
  /// `ring` is called with nothing locked, and may set the alarm.
  explicit Alarm(std::function<void()> ring) : ring_(std::move(ring)) {}
  Alarm(const Alarm&) = delete;

  /// Rings at `deadline_ns` at the latest. On a loop.
  void set(uint64_t deadline_ns);
  /// Rings no later than at once, for the last time.
  void clear();

 private:
  template <typename Base>
  struct Part : Base {
    std::shared_ptr<Alarm> alarm;  // while it is under way
  };
  void stop();
  void nudge();
  template <typename Base>
  static std::shared_ptr<Alarm> end_of(Posted& work) noexcept;
  static void timer_ended(Posted& work) noexcept;
  static void nudged(Posted& work) noexcept;
  static void cancel_ended(Posted& work) noexcept;

  const std::function<void()> ring_;
  std::mutex guard_;
  Part<IoOperation> timer_;
  Part<IoOperation> cancel_;
  Part<Posted> nudge_;
  Loop* loop_ = nullptr;  // where the timer runs; null: it does not
  uint64_t deadline_ns_ = 0;
  bool stopping_ = false;  // nudge_ or cancel_ is under way
};

}  // namespace ashlar
