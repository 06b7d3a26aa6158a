// Queues of posted work: one for a single thread, one that any thread may fill.
#pragma once

#include <atomic>

#include "ashlar/loop.h"

namespace ashlar {

/// First in, first out, for one thread.
class PostedQueue {
 public:
  bool empty() const noexcept { return head_ == nullptr; }

  void push(Posted& work) noexcept {
    work.next = nullptr;
    (tail_ == nullptr ? head_ : tail_->next) = &work;
    tail_ = &work;
  }

  /// The oldest, or null.
  Posted* pop() noexcept {
    Posted* work = head_;
    if (work == nullptr) return nullptr;
    head_ = work->next;
    if (head_ == nullptr) tail_ = nullptr;
    return work;
  }

  /// Takes `work` out if it is here.
  bool remove(Posted& work) noexcept {
    Posted* previous = nullptr;
    for (Posted* at = head_; at != nullptr; previous = at, at = at->next) {
      if (at != &work) continue;
      (previous == nullptr ? head_ : previous->next) = at->next;
      if (tail_ == at) tail_ = previous;
      return true;
    }
    return false;
  }

 private:
  Posted* head_ = nullptr;
  Posted* tail_ = nullptr;
};

/// Filled by any thread without a lock, emptied by one.
class PostedInbox {
 public:
  // Sequentially consistent on purpose: a poster pushes and then looks whether the reader sleeps,
  // a reader says that it sleeps and then looks here.
  bool empty() const noexcept { return newest_.load() == nullptr; }

  /// `work` may have run, and be gone, when this returns.
  void push(Posted& work) noexcept {
    Posted* newest = newest_.load(std::memory_order_relaxed);
    do {
      work.next = newest;
    } while (!newest_.compare_exchange_weak(newest, &work));
  }

  /// Moves everything to the end of `queue`, oldest first.
  void move_to(PostedQueue& queue) noexcept {
    if (newest_.load(std::memory_order_relaxed) == nullptr) return;
    Posted* newest = newest_.exchange(nullptr);
    Posted* oldest = nullptr;
    while (newest != nullptr) {
      Posted* next = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = next;
    }
    while (oldest != nullptr) {
      Posted* next = oldest->next;
      queue.push(*oldest);
      oldest = next;
    }
  }

 private:
  std::atomic<Posted*> newest_{nullptr};
};

}  // namespace ashlar
