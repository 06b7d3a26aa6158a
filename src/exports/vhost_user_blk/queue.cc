// The work of a queue: fetching, running, answering. See queue.h.
#include "exports/vhost_user_blk/queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace ashlar::vhost {
namespace {

/// Without a kick descriptor, and while the ring is watched.
constexpr uint64_t kLookAgainNs = 50'000;
/// How long the ring is watched at most for the next request before sleeping.
constexpr uint64_t kLongestWatchNs = 32'000;
constexpr uint64_t kShortestWatchNs = 2'000;
/// Fewer cores than this are never spent on watching.
constexpr unsigned kFewCores = 2;

uint32_t used_length(const BlockRequest& request, uint64_t fills) {
  // The status is behind all of the data: without all of it, no length may reach that far.
  const bool whole = fills == request.into.size();
  const uint64_t length = whole ? fills + 1 : fills;
  return static_cast<uint32_t>(std::min<uint64_t>(length, UINT32_MAX));
}

}  // namespace

Queue::Queue(BlockDevice& device, QueueOwner& owner)
    : device_(device), owner_(owner), cores_(std::thread::hardware_concurrency()) {
  publishing_.owner = this;
}

Task<void> Queue::set_kick(OwnedDescriptor event) {
  kick_.set(std::move(event));
  co_return;
}

Task<void> Queue::set_call(OwnedDescriptor event) {
  co_await call_.set(std::move(event));
  call_.signal();
}

Task<void> Queue::set_error(OwnedDescriptor event) { return error_.set(std::move(event)); }

Task<void> Queue::start(Run run) {
  run_ = std::move(run);
  stopping_ = false;
  failed_ = false;
  watch_ns_ = 0;
  used_ = run_.ring.used_index();
  shown_ = used_;
  answered_.reserve(run_.ring.size());
  kick_.resume();
  // Whoever served this ring before may have answered without calling.
  call_.signal();
  scope_.spawn(fetch());
  co_return;
}

Task<uint16_t> Queue::stop() {
  stopping_ = true;
  kick_.interrupt();
  co_await scope_.join();
  while (publishing_later_) co_await yield();
  co_return run_.next;
}

Task<void> Queue::fetch() {
  for (const uint16_t head : run_.resumed.heads) {
    if (!begin(head)) co_return;
  }
  publish();
  while (!stopping_) {
    const Taken taken = take_available();
    if (taken == Taken::kFailed) co_return;
    if (taken == Taken::kSome && run_.ring.available_index() != run_.next) {
      co_await yield();
    } else {
      co_await wait_for_work();
    }
    if (failed_) co_return;
  }
}

bool Queue::may_watch() const noexcept {
  return cores_ > kFewCores && cores_ > Loop::current().runtime().loop_count();
}

/// Until something is available or it is time to sleep. Watching that found nothing is halved,
/// and given up in the end; watching that would have found something grows.
Task<void> Queue::watch_ring() {
  const uint64_t until = Loop::current().now_ns() + watch_ns_;
  while (!stopping_ && !failed_) {
    if (run_.ring.available_index() != run_.next) co_return;
    if (Loop::current().now_ns() >= until) break;
    co_await yield();
  }
  watch_ns_ = watch_ns_ > kShortestWatchNs ? watch_ns_ / 2 : 0;
}

Task<void> Queue::wait_for_work() {
  if (watch_ns_ != 0) co_await watch_ring();
  if (stopping_ || failed_ || run_.ring.ask_for_kick(run_.next)) co_return;
  if (!kick_) {
    co_await sleep_for(kLookAgainNs);
    co_return;
  }
  const bool measured = may_watch();
  const uint64_t since = measured ? Loop::current().now_ns() : 0;
  Result<void> kicked = co_await kick_.wait();
  if (!kicked) fail_with(kicked.error());
  if (measured && Loop::current().now_ns() - since < kLongestWatchNs) {
    watch_ns_ = std::clamp(watch_ns_ * 2, kShortestWatchNs, kLongestWatchNs);
  }
}

/// At most one ring full: other work of this loop has its turn, too.
Queue::Taken Queue::take_available() {
  const auto waiting = static_cast<uint16_t>(run_.ring.available_index() - run_.next);
  check_memory();
  if (failed_) return Taken::kFailed;
  if (waiting == 0) return Taken::kNothing;
  if (waiting > run_.ring.size()) {
    fail_with(Error(ErrorCode::kInvalidArgument,
                    fmt::format("{} requests in a ring of {}", waiting, run_.ring.size()))
                  .because("vhost-ring-index"));
    return Taken::kFailed;
  }
  run_.ring.refuse_kicks();
  taking_ = true;
  bool going_on = true;
  for (uint16_t count = 0; count < waiting && going_on; ++count) {
    const uint16_t head = run_.ring.head_at(run_.next++);
    going_on = begin(head);
  }
  taking_ = false;
  publish();
  return going_on && !failed_ ? Taken::kSome : Taken::kFailed;
}

Result<void> Queue::admit(uint16_t head) {
  if (head < run_.ring.size() && !in_flight_.test(head)) return ok();
  return fail(
      Error(ErrorCode::kInvalidArgument,
            fmt::format("chain {} of a ring of {} {}", head, run_.ring.size(),
                        head < run_.ring.size() ? "is in flight already" : "does not exist"))
          .because("vhost-head"));
}

bool Queue::begin(uint16_t head) {
  if (Result<void> admitted = admit(head); !admitted) {
    fail_with(admitted.error());
    return false;
  }
  Request& request = free_request();
  request.head = head;
  const Result<void> read = request.chain.read(run_.ring, *run_.memory, head, run_.indirect);
  Result<BlockRequest> block = read ? BlockRequest::decode(request.chain) : fail(read.error());
  if (!block) {
    request.next_free = std::exchange(free_, &request);
    fail_with(block.error());
    return false;
  }
  request.block = *block;
  run_.log.take(head);
  in_flight_.set(head);
  ++in_flight_count_;
  StartedRequest started = device_.start(request.block);
  if (started.work.valid()) {
    scope_.spawn(finish_later(request, std::move(started)));
  } else {
    finish(request, started.status, started.fills);
  }
  return true;
}

Queue::Request& Queue::free_request() {
  if (free_ == nullptr) {
    requests_.push_back(std::make_unique<Request>());
    free_ = requests_.back().get();
  }
  Request& request = *free_;
  free_ = request.next_free;
  return request;
}

Task<void> Queue::finish_later(Request& request, StartedRequest started) {
  const Result<void> done = co_await started.work;
  finish(request, done ? Status::kOk : Status::kError, done ? started.fills : 0);
}

void Queue::finish(Request& request, Status status, uint64_t fills) {
  *request.block.status = static_cast<std::byte>(status);
  const bool filled = status == Status::kOk;
  run_.ring.store_used(used_++, request.head, used_length(request.block, filled ? fills : 0));
  run_.log.answer(request.head);
  answered_.push_back(request.head);
  in_flight_.reset(request.head);
  --in_flight_count_;
  request.next_free = std::exchange(free_, &request);
  if (taking_) return;
  if (in_flight_count_ == 0) {
    publish();
  } else if (!std::exchange(publishing_later_, true)) {
    publishing_.run = [](Posted& work) noexcept {
      Queue& self = *static_cast<Publishing&>(work).owner;
      self.publishing_later_ = false;
      self.publish();
    };
    Loop::current().post(publishing_);
  }
}

void Queue::publish() {
  if (answered_.empty()) return;
  const uint16_t before = std::exchange(shown_, used_);
  run_.ring.publish_used(used_);
  run_.log.published(answered_, used_);
  answered_.clear();
  if (run_.ring.wants_call(before, used_)) call_.signal();
  check_memory();
}

void Queue::check_memory() {
  if (!run_.memory->broken()) return;
  fail_with(Error(ErrorCode::kIo, "the guest's memory was cut off").because("vhost-memory"));
}

void Queue::fail_with(const Error& error) noexcept {
  if (std::exchange(failed_, true)) return;
  kick_.interrupt();
  error_.signal();
  owner_.queue_failed(error);
}

}  // namespace ashlar::vhost
