// The real loop: how it turns, sleeps, is woken and ends.
#include "async/event_loop.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <random>

#include "async/on_loop.h"
#include "async/ring_engine.h"
#include "async/thread_engine.h"

namespace ashlar {
namespace {

uint64_t since_epoch_ns(auto moment) {
  const auto passed = moment.time_since_epoch();
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(passed).count());
}

Detached drive(Task<void> task, bool& done) {
  co_await task;
  done = true;
}

}  // namespace

EventLoop::EventLoop(Runtime& runtime, unsigned index, Setup setup)
    : Loop(runtime, index), setup_(setup) {}

EventLoop::~EventLoop() { assert(!thread_.joinable()); }

uint64_t EventLoop::now_ns() noexcept { return since_epoch_ns(std::chrono::steady_clock::now()); }

uint64_t EventLoop::wall_clock_ns() noexcept {
  return since_epoch_ns(std::chrono::system_clock::now());
}

uint64_t EventLoop::random() noexcept {
  if (random_left_ == 0) {
    const auto got = getrandom(random_words_.data(), sizeof random_words_, 0);
    if (got != static_cast<ssize_t>(sizeof random_words_)) {
      std::random_device device;
      for (uint64_t& word : random_words_) word = uint64_t{device()} << 32 | device();
    }
    random_left_ = random_words_.size();
  }
  return random_words_[--random_left_];
}

void EventLoop::post(Posted& work) noexcept {
  if (Loop::current_or_null() == this) {
    ready_.push(work);
    return;
  }
  inbox_.push(work);
  rouse();
}

void EventLoop::rouse() noexcept {
  if (rest_.load() == Rest::kAwake) return;
  switch (rest_.exchange(Rest::kAwake)) {
    case Rest::kAwake:
      return;
    case Rest::kOnCondition: {
      std::lock_guard lock(guard_);
      roused_ = true;
      roused_condition_.notify_one();
      return;
    }
    case Rest::kInEngine:
      wake_.signal();
      return;
    case Rest::kNotStarted: {
      std::lock_guard lock(guard_);
      thread_ = std::thread([this] { serve(); });
      return;
    }
  }
}

IoEngine* EventLoop::engine() noexcept {
  if (engine_ != nullptr) return engine_.get();
  if (!wake_.open()) return nullptr;
  if (setup_.files == RuntimeOptions::FileBackend::kAutomatic) {
    engine_ = RingEngine::create(wake_);
  }
  if (engine_ == nullptr) {
    engine_ = std::make_unique<ThreadEngine>(*this, wake_, *setup_.blocking_calls);
  }
  engine_->set_max_batch(max_batch_);
  engine_thread_ = std::this_thread::get_id();
  return engine_.get();
}

void EventLoop::submit(IoOperation& operation) noexcept {
  assert(Loop::current_or_null() == this);
  if (operation.kind == IoOperation::Kind::kSignal) {
    IoEngine* carrier = stopping_ ? nullptr : engine();
    if (carrier != nullptr) carrier->submit(operation);
  } else if (operation.kind == IoOperation::Kind::kCancel) {
    cancel(operation);
  } else if (stopping_) {
    operation.result = -ECANCELED;
    ready_.push(operation);
  } else if (operation.kind == IoOperation::Kind::kTimer) {
    timers_.add(operation);
  } else if (try_early_read(operation)) {
    ready_.push(operation);
  } else if (IoEngine* carrier = engine()) {
    carrier->submit(operation);
  } else {
    operation.result = -EMFILE;
    ready_.push(operation);
  }
}

/// A tool that only looks at a header in the page cache is done before it needs an engine, and to
/// make a ring and end it costs as much as all of its reads.
bool EventLoop::try_early_read(IoOperation& operation) noexcept {
  if (engine_ != nullptr || early_reads_left_ == 0) return false;
  if (operation.kind != IoOperation::Kind::kRead) return false;
  --early_reads_left_;
  if ((fcntl(operation.fd, F_GETFL) & O_DIRECT) != 0) return false;  // would wait for the disk
  const auto offset = static_cast<off_t>(operation.offset);
  operation.result = preadv2(operation.fd, operation.vectors, static_cast<int>(operation.count),
                             offset, operation.flags | RWF_NOWAIT);
  return operation.result >= 0;  // whatever is wrong, the engine will say
}

void EventLoop::cancel(IoOperation& operation) noexcept {
  if (timers_.remove(operation.target)) {
    operation.target->result = -ECANCELED;
    ready_.push(*operation.target);
    operation.result = 0;
    ready_.push(operation);
  } else if (engine_ != nullptr) {
    engine_->submit(operation);
  } else {
    operation.result = -ENOENT;
    ready_.push(operation);
  }
}

void EventLoop::run_ready() noexcept {
  // Only what is ready now: what it makes ready waits until I/O had its turn.
  PostedQueue batch = std::exchange(ready_, {});
  while (Posted* work = batch.pop()) work->run(*work);
}

void EventLoop::fire_timers() noexcept {
  if (timers_.empty()) return;
  const uint64_t now = now_ns();
  while (IoOperation* timer = timers_.pop_due(now)) {
    timer->result = 0;
    ready_.push(*timer);
  }
}

void tune(Loop& loop, const LoopTuning& tuning) noexcept {
  if (auto* real = dynamic_cast<EventLoop*>(&loop)) real->tune(tuning);
}

void EventLoop::tune(const LoopTuning& tuning) noexcept {
  const std::lock_guard lock(guard_);
  tuning_ = tuning;
  tuning_changed_.store(true);
}

void EventLoop::adopt_tuning() noexcept {
  const std::lock_guard lock(guard_);
  tuning_changed_.store(false);
  poll_.tune(tuning_);
  max_batch_ = tuning_.max_batch;
  if (engine_ != nullptr) engine_->set_max_batch(max_batch_);
}

void EventLoop::turn() noexcept {
  if (tuning_changed_.load(std::memory_order_relaxed)) adopt_tuning();
  inbox_.move_to(ready_);
  fire_timers();
  if (ready_.empty()) {
    rest();
    inbox_.move_to(ready_);
    fire_timers();
  } else if (engine_ != nullptr) {
    engine_->turn(0, ready_);
  }
  // Last, so that the caller sees at once that what it waits for has happened.
  run_ready();
}

void EventLoop::rest() noexcept {
  if (poll_.off()) return sleep();
  const uint64_t start_ns = now_ns();
  if (!look_for_news(start_ns)) sleep();
  poll_.waited(now_ns() - start_ns);
}

/// Awake all the while: who posts need not rouse this loop, which is what makes it fast.
bool EventLoop::look_for_news(uint64_t start_ns) noexcept {
  if (poll_.duration_ns() == 0) return false;
  uint64_t end_ns = start_ns + poll_.duration_ns();
  const bool timer_is_due_before = !timers_.empty() && timers_.next_ns() <= end_ns;
  if (timer_is_due_before) end_ns = timers_.next_ns();
  do {
    if (engine_ != nullptr) engine_->turn(0, ready_);
    inbox_.move_to(ready_);
    if (!ready_.empty() || stop_wanted_.load()) {
      ++rests_.polled;
      return true;
    }
  } while (now_ns() < end_ns);
  if (timer_is_due_before) ++rests_.polled;
  return timer_is_due_before;
}

void EventLoop::sleep() noexcept {
  ++rests_.slept;
  uint64_t timeout_ns = IoEngine::kForever;
  if (!timers_.empty()) {
    const uint64_t now = now_ns();
    timeout_ns = timers_.next_ns() > now ? timers_.next_ns() - now : 0;
  }
  rest_.store(engine_ != nullptr ? Rest::kInEngine : Rest::kOnCondition);
  // A post that came before the store above did not rouse anybody.
  if (!inbox_.empty() || stop_wanted_.load()) timeout_ns = 0;
  if (engine_ != nullptr) {
    engine_->turn(timeout_ns, ready_);
  } else if (timeout_ns != 0) {
    sleep_on_condition(timeout_ns);
  }
  rest_.store(Rest::kAwake);
}

void EventLoop::sleep_on_condition(uint64_t timeout_ns) noexcept {
  std::unique_lock lock(guard_);
  auto roused = [this] { return roused_; };
  // Above a century the arithmetic of the clock would overflow.
  if (timeout_ns > uint64_t{1} << 61) {
    roused_condition_.wait(lock, roused);
  } else {
    roused_condition_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), roused);
  }
  roused_ = false;
}

void EventLoop::leave_engine_of_other_thread() noexcept {
  if (engine_ == nullptr || engine_thread_ == std::this_thread::get_id()) return;
  assert(engine_->in_flight() == 0);
  engine_.reset();
}

void EventLoop::run(Task<void> task) {
  assert(Loop::current_or_null() == nullptr);
  leave_engine_of_other_thread();
  Entered entered(*this);
  bool done = false;
  drive(std::move(task), done);
  while (!done) turn();
}

bool EventLoop::anything_left() const noexcept {
  return !ready_.empty() || !inbox_.empty() || !timers_.empty() ||
         (engine_ != nullptr && engine_->in_flight() != 0);
}

void EventLoop::cancel_everything() noexcept {
  stopping_ = true;
  while (!timers_.empty()) {
    IoOperation* timer = timers_.pop();
    timer->result = -ECANCELED;
    ready_.push(*timer);
  }
  if (engine_ != nullptr) engine_->cancel_all();
}

void EventLoop::drain() noexcept {
  leave_engine_of_other_thread();
  Entered entered(*this);
  cancel_everything();
  while (anything_left()) turn();
}

void EventLoop::serve() noexcept {
  Entered entered(*this);
  while (!stop_wanted_.load()) turn();
  cancel_everything();
  while (anything_left()) turn();
  engine_.reset();  // a ring ends on the thread that used it
}

void EventLoop::stop() noexcept {
  stop_wanted_.store(true);
  if (rest_.load() != Rest::kNotStarted) rouse();
  std::unique_lock lock(guard_);
  std::thread thread = std::move(thread_);
  lock.unlock();
  if (thread.joinable()) thread.join();
}

}  // namespace ashlar
