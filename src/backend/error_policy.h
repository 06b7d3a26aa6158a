// What becomes of failed requests: reported, ignored, or held until they are told to try again.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "ashlar/backend.h"
#include "async/epoch.h"
#include "async/sync.h"

namespace ashlar {

class ErrorPolicies {
 public:
  enum class Verdict : uint8_t { kReport, kIgnore, kRetry };
  using Operation = BackendObserver::IoErrorEvent::Operation;

  explicit ErrorPolicies(Backend& backend) : backend_(backend) {}

  /// Decides about a failed request, and holds it while its policy says so. To be called outside
  /// of drains: a held request is not in flight. `presence` comes from enter().
  Task<Verdict> decide(Operation operation, std::string node, Error error);
  /// A request that is here keeps the backend alive. Empty when that is going away.
  std::optional<Gate::Pass> enter() noexcept { return present_.try_enter(); }

  // Control loop.
  void set(ErrorPolicy on_read, ErrorPolicy on_write) noexcept;
  void set_observer(BackendObserver* observer) noexcept { observer_.store(observer); }
  BackendObserver* observer() const noexcept { return observer_.load(); }
  void resume() noexcept;
  bool stopped() const noexcept { return stopped_.load(); }
  bool idle() const noexcept { return present_.inside() == 0; }
  /// From here on errors are reported only; waits until nobody is inside.
  Task<void> finish();

 private:
  class HeldAwaiter;
  Task<void> tell(BackendObserver::IoErrorEvent event);

  Backend& backend_;
  std::atomic<ErrorPolicy> on_read_{ErrorPolicy::kReport};
  std::atomic<ErrorPolicy> on_write_{ErrorPolicy::kReport};
  std::atomic<BackendObserver*> observer_{nullptr};
  std::atomic<bool> stopped_{false};
  std::atomic<bool> finishing_{false};
  Gate present_;
  std::mutex guard_;
  WaitList held_;  // under guard_
};

}  // namespace ashlar
