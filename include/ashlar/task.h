// Task<T>: a lazy coroutine that is awaited once. The one asynchronous style of the library.
#pragma once

#include <cassert>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace ashlar {

/// Memory for coroutine frames: per-thread free lists by size class. Any thread may release.
void* allocate_frame(size_t size);
void release_frame(void* frame, size_t size) noexcept;

template <typename T>
class Task;

namespace task_detail {

/// What all promises share: recycled frames, the waiting parent, completion without a stack hop.
class PromiseBase {
 public:
  static void* operator new(size_t size) { return allocate_frame(size); }
  static void operator delete(void* frame, size_t size) noexcept { release_frame(frame, size); }

  std::suspend_always initial_suspend() noexcept { return {}; }

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      PromiseBase& promise = self.promise();
      // While the parent is still inside its own await_suspend it sees done() and goes on by
      // itself: what completes at once never suspends anybody, and the stack does not grow.
      if (promise.starting_) return;
      if (promise.parent_) promise.parent_.resume();
    }
    void await_resume() const noexcept {}
  };
  FinalAwaiter final_suspend() noexcept { return {}; }

  // The library reports errors as values; an exception here is a broken invariant.
  void unhandled_exception() noexcept { std::terminate(); }

  std::coroutine_handle<> parent_;
  bool starting_ = false;
};

template <typename T>
class Promise final : public PromiseBase {
 public:
  Task<T> get_return_object() noexcept;
  template <typename U>
    requires std::convertible_to<U&&, T>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T take() {
    assert(value_);
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
};

template <>
class Promise<void> final : public PromiseBase {
 public:
  Task<void> get_return_object() noexcept;
  void return_void() noexcept {}
  void take() noexcept {}
};

}  // namespace task_detail

/// A computation that starts when it is awaited and ends on the loop it was started on.
/// Owns its frame. Must not be destroyed while it is suspended in the middle.
/// References given as arguments must outlive the task, not the call.
///
/// What GCC 12 gets wrong, without a warning (src/async/compiler_traps_test.cc holds the safe
/// forms):
/// - `if (co_await f())`, also while, do, for and switch: in a coroutine that declares no local
///   variable anywhere, the whole body is dropped and the task never ends. Name the value first:
///   `const auto value = co_await f(); if (value)`, or `if (auto value = co_await f(); value)`.
/// - An aggregate or a capturing lambda made inside a `co_await` expression is destroyed twice.
template <typename T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = task_detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  ~Task() { destroy(); }

  bool valid() const { return bool(handle_); }

  class Awaiter {
   public:
    explicit Awaiter(Handle handle) : handle_(handle) {}
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> parent) noexcept {
      promise_type& promise = handle_.promise();
      promise.parent_ = parent;
      promise.starting_ = true;
      handle_.resume();
      // Resumed and finished on this very thread: tell the parent to go on.
      if (handle_.done()) return false;
      promise.starting_ = false;
      return true;
    }
    T await_resume() { return handle_.promise().take(); }

   private:
    Handle handle_;
  };
  Awaiter operator co_await() && noexcept {
    assert(handle_);
    return Awaiter(handle_);
  }
  Awaiter operator co_await() & noexcept {
    assert(handle_);
    return Awaiter(handle_);
  }

 private:
  void destroy() {
    if (handle_) std::exchange(handle_, {}).destroy();
  }
  Handle handle_;
};

template <typename T>
Task<T> task_detail::Promise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Task<void> task_detail::Promise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

}  // namespace ashlar
