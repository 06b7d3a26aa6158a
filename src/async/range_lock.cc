// The range lock: a list of held and waiting ranges, oldest first.
#include <new>

#include "async/sync.h"

namespace ashlar {

/// One held or waiting range, or somebody who waits for older ones to pass.
/// The list is as long as there are requests in flight, so it is walked, not indexed.
struct RangeLock::Entry : Waiter {
  enum class Kind : uint8_t { kExclusive, kPassing };

  Entry(ByteRange covers, Kind what) : range(covers), kind(what) {}
  static void* operator new(size_t size) { return allocate_frame(size); }
  static void operator delete(void* entry, size_t size) noexcept { release_frame(entry, size); }

  ByteRange range;
  Kind kind;
  Entry* older = nullptr;
  Entry* younger = nullptr;
  size_t blockers = 0;  // older exclusive entries that overlap
};

RangeLock::~RangeLock() { assert(oldest_ == nullptr); }

void RangeLock::append(Entry& entry) noexcept {
  for (const Entry* other = oldest_; other != nullptr; other = other->younger) {
    if (other->kind == Entry::Kind::kExclusive && other->range.overlaps(entry.range)) {
      ++entry.blockers;
    }
  }
  entry.older = youngest_;
  (youngest_ == nullptr ? oldest_ : youngest_->younger) = &entry;
  youngest_ = &entry;
  held_count_.fetch_add(1, std::memory_order_acq_rel);
}

void RangeLock::remove(Entry& entry) noexcept {
  (entry.older == nullptr ? oldest_ : entry.older->younger) = entry.younger;
  (entry.younger == nullptr ? youngest_ : entry.younger->older) = entry.older;
  held_count_.fetch_sub(1, std::memory_order_acq_rel);
}

/// Those that waited for `entry` only, in order of arrival.
Waiter* RangeLock::unblock_younger(const Entry& entry) noexcept {
  WaitList free;
  for (Entry* other = entry.younger; other != nullptr;) {
    Entry* next = other->younger;
    if (other->range.overlaps(entry.range) && --other->blockers == 0) {
      free.push(*other);
      if (other->kind == Entry::Kind::kPassing) remove(*other);
    }
    other = next;
  }
  return free.take_all();
}

void RangeLock::release(Entry& entry) noexcept {
  Waiter* free = nullptr;
  {
    std::lock_guard lock(guard_);
    free = unblock_younger(entry);
    remove(entry);
  }
  delete &entry;
  Waiter::wake_all(free);
}

bool RangeLock::LockAwaiter::await_suspend(std::coroutine_handle<> self) noexcept {
  assert(!range_.wraps());
  entry_ = new Entry(range_, Entry::Kind::kExclusive);  // owned by the Guard from here on
  entry_->prepare(self);
  std::lock_guard lock(lock_.guard_);
  lock_.append(*entry_);
  return entry_->blockers != 0;
}

class RangeLock::PassAwaiter {
 public:
  PassAwaiter(RangeLock& lock, ByteRange range)
      : lock_(lock), entry_(range, Entry::Kind::kPassing) {}
  bool await_ready() const noexcept { return lock_.idle(); }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    entry_.prepare(self);
    std::lock_guard lock(lock_.guard_);
    lock_.append(entry_);
    if (entry_.blockers != 0) return true;
    lock_.remove(entry_);
    return false;
  }
  void await_resume() const noexcept {}

 private:
  RangeLock& lock_;
  Entry entry_;
};

Task<void> RangeLock::wait_for(ByteRange range) {
  if (range.empty()) co_return;
  PassAwaiter passed(*this, range);
  co_await passed;
}

}  // namespace ashlar
