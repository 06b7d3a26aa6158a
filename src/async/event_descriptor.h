// Events between processes: descriptors that one side signals and the other waits for.
#pragma once

#include <utility>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "async/io_operation.h"
#include "async/owned_descriptor.h"
#include "async/sync.h"

namespace ashlar {

/// A new event, for who hands it to the other process.
Result<OwnedDescriptor> create_event();
/// A second descriptor of the same thing.
Result<OwnedDescriptor> duplicate(const OwnedDescriptor& descriptor);
/// Whether `descriptor` is one that events come and go by: an eventfd or a pipe.
bool is_event(const OwnedDescriptor& descriptor);

/// Waits for signals. Used from one loop; one wait() at a time.
class EventWaiter {
 public:
  EventWaiter() = default;
  /// What is waited for from now on. Not while a wait is in flight.
  void set(OwnedDescriptor event) noexcept { event_ = std::move(event); }
  /// There is something to wait for.
  explicit operator bool() const noexcept { return bool(event_); }

  bool interrupted() const noexcept { return interrupted_; }
  /// Takes interrupt() back.
  void resume() noexcept { interrupted_ = false; }
  /// Returns when the event was signalled, and takes all signals back, or when it was interrupted.
  /// Errors: kIo when the descriptor is none to wait for. Never blocks the loop, whatever the other
  /// side does with its end.
  Task<Result<void>> wait();
  /// Ends the wait in flight and lets later ones return at once.
  void interrupt() noexcept;

 private:
  OwnedDescriptor event_;
  IoOperation* waiting_ = nullptr;
  bool interrupted_ = false;
};

/// Signals an event, by the loop: the other side cannot block us. Signals that come while one is
/// on its way become one. Used from one loop.
class EventSignaller {
 public:
  EventSignaller() = default;

  void signal();
  /// Changes what is signalled, after what is on its way has ended; an empty descriptor is none.
  /// Awaited with an empty one before destruction.
  Task<void> set(OwnedDescriptor event);

 private:
  void signal_unheard() noexcept;
  Task<void> send();

  OwnedDescriptor event_;
  Scope sending_;
  IoOperation* on_its_way_ = nullptr;
  unsigned unheard_ = 0;
  bool again_ = false;
};

}  // namespace ashlar
