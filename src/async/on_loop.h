// Moving work between threads: a task on another loop, a plain function on a worker.
#pragma once

#include <coroutine>
#include <optional>
#include <type_traits>
#include <utility>

#include "ashlar/loop.h"

namespace ashlar {

/// Starts at once, is awaited by nobody, and frees itself. Only the pieces below use it.
class Detached {
 public:
  struct promise_type {
    static void* operator new(size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, size_t size) noexcept { release_frame(frame, size); }
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

/// Awaitable: runs a Task<T> on another loop and brings its result back to this one.
template <typename T>
class OnLoop : private Posted {
 public:
  OnLoop(Loop& target, Task<T> task) : target_(target), task_(std::move(task)) {}
  OnLoop(const OnLoop&) = delete;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) noexcept {
    waiter_ = waiter;
    home_ = &Loop::current();
    run = [](Posted& work) noexcept { go(static_cast<OnLoop&>(work)); };
    target_.post(*this);
  }
  T await_resume() {
    if constexpr (!std::is_void_v<T>) return std::move(*result_);
  }

 private:
  static Detached go(OnLoop& self) {
    if constexpr (std::is_void_v<T>) {
      co_await self.task_;
    } else {
      self.result_.emplace(co_await self.task_);
    }
    self.run = [](Posted& work) noexcept { static_cast<OnLoop&>(work).waiter_.resume(); };
    self.home_->post(self);  // the last touch: the waiter may go on at once
  }

  Loop& target_;
  Task<T> task_;
  Loop* home_ = nullptr;
  std::coroutine_handle<> waiter_;
  std::optional<std::conditional_t<std::is_void_v<T>, char, T>> result_;
};

/// Awaitable: runs `function()` (plain code, no coroutine) on a worker thread and returns what it
/// returns. `function` must not touch anything that other threads change.
template <typename Function>
class OnWorker : private Posted {
 public:
  using Value = std::invoke_result_t<Function&>;
  explicit OnWorker(Function function) : function_(std::move(function)) {}
  OnWorker(const OnWorker&) = delete;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) noexcept {
    waiter_ = waiter;
    home_ = &Loop::current();
    run = [](Posted& work) noexcept { static_cast<OnWorker&>(work).work(); };
    home_->runtime().run_on_worker(*this);
  }
  Value await_resume() {
    if constexpr (!std::is_void_v<Value>) return std::move(*result_);
  }

 private:
  void work() noexcept {
    if constexpr (std::is_void_v<Value>) {
      function_();
    } else {
      result_.emplace(function_());
    }
    run = [](Posted& work) noexcept { static_cast<OnWorker&>(work).waiter_.resume(); };
    home_->post(*this);
  }

  Function function_;
  Loop* home_ = nullptr;
  std::coroutine_handle<> waiter_;
  std::optional<std::conditional_t<std::is_void_v<Value>, char, Value>> result_;
};

}  // namespace ashlar
