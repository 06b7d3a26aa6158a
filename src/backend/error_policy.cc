// Deciding about failed requests, and holding them.
#include "backend/error_policy.h"

#include "async/on_loop.h"

namespace ashlar {

class ErrorPolicies::HeldAwaiter : Waiter {
 public:
  explicit HeldAwaiter(ErrorPolicies& policies) : policies_(policies) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    prepare(self);
    std::lock_guard lock(policies_.guard_);
    if (!policies_.stopped_.load()) return false;  // resumed before it came here
    policies_.held_.push(*this);
    return true;
  }
  void await_resume() const noexcept {}

 private:
  ErrorPolicies& policies_;
};

Task<ErrorPolicies::Verdict> ErrorPolicies::decide(Operation operation, std::string node,
                                                   Error error) {
  ErrorPolicy action = operation == Operation::kRead ? on_read_.load() : on_write_.load();
  if (action == ErrorPolicy::kStopOnNoSpace) {
    action = error.code() == ErrorCode::kNoSpace ? ErrorPolicy::kStop : ErrorPolicy::kReport;
  }
  if (finishing_.load()) co_return Verdict::kReport;
  if (action == ErrorPolicy::kStop || observer_.load() != nullptr) {
    Loop& control = Loop::current().runtime().control_loop();
    BackendObserver::IoErrorEvent event{&backend_, std::move(node), operation, action, error};
    OnLoop<void> told(control, tell(std::move(event)));
    co_await told;
  }
  switch (action) {
    case ErrorPolicy::kIgnore:
      co_return Verdict::kIgnore;
    case ErrorPolicy::kStop: {
      HeldAwaiter resumed(*this);
      co_await resumed;
      co_return finishing_.load() ? Verdict::kReport : Verdict::kRetry;
    }
    case ErrorPolicy::kReport:
    case ErrorPolicy::kStopOnNoSpace:
      break;
  }
  co_return Verdict::kReport;
}

Task<void> ErrorPolicies::tell(BackendObserver::IoErrorEvent event) {
  if (event.action == ErrorPolicy::kStop && !finishing_.load()) {
    std::lock_guard lock(guard_);
    stopped_.store(true);
  }
  if (BackendObserver* observer = observer_.load()) observer->io_error(event);
  co_return;
}

void ErrorPolicies::set(ErrorPolicy on_read, ErrorPolicy on_write) noexcept {
  on_read_.store(on_read);
  on_write_.store(on_write);
}

void ErrorPolicies::resume() noexcept {
  Waiter* held = nullptr;
  {
    std::lock_guard lock(guard_);
    stopped_.store(false);
    held = held_.take_all();
  }
  Waiter::wake_all(held);
}

Task<void> ErrorPolicies::finish() {
  finishing_.store(true);
  resume();
  co_await present_.close();
}

}  // namespace ashlar
