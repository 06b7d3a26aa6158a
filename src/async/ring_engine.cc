// The io_uring engine: set-up with fallbacks, submission entries, completions.
#include "async/ring_engine.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace ashlar {
namespace {

constexpr unsigned kEntries = 128;
constexpr unsigned kCompletions = 512;
constexpr uint64_t kIgnoredTag = 0;  // operations have their address, which is never this small
constexpr uint64_t kWakeTag = 1;

/// Tries the best set-up first. Linux 6.1, 5.19, 5.11.
bool set_up(io_uring& ring) {
  constexpr unsigned kSetups[] = {
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
      IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
      0,
  };
  for (unsigned flags : kSetups) {
    io_uring_params params = {};
    params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = kCompletions;
    const int result = io_uring_queue_init_params(kEntries, &ring, &params);
    if (result == -EINVAL) continue;
    if (result < 0) return false;
    // Without these: lost completions, copied vectors that must live on, no wait with a timeout.
    constexpr unsigned kNeeded =
        IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG;
    if ((params.features & kNeeded) == kNeeded) return true;
    io_uring_queue_exit(&ring);
    return false;
  }
  return false;
}

void prepare_transfer(io_uring_sqe& entry, const IoOperation& operation) {
  const bool reading = operation.kind == IoOperation::Kind::kRead;
  if (operation.count == 1) {
    const iovec& one = operation.vectors[0];
    // The kernel caps a transfer at 2 GiB less a page; the caller repeats what is left.
    const auto length = static_cast<unsigned>(std::min<size_t>(one.iov_len, 0x7ffff000));
    io_uring_prep_rw(reading ? IORING_OP_READ : IORING_OP_WRITE, &entry, operation.fd, one.iov_base,
                     length, operation.offset);
  } else {
    io_uring_prep_rw(reading ? IORING_OP_READV : IORING_OP_WRITEV, &entry, operation.fd,
                     operation.vectors, operation.count, operation.offset);
  }
  entry.rw_flags = operation.flags;
}

/// What to wait for when the descriptor was not ready.
unsigned readiness_for(IoOperation::Kind kind) {
  const bool incoming = kind == IoOperation::Kind::kRead || kind == IoOperation::Kind::kAccept ||
                        kind == IoOperation::Kind::kReceive;
  return incoming ? POLLIN : POLLOUT;
}

void prepare(io_uring_sqe& entry, const IoOperation& operation) {
  using Kind = IoOperation::Kind;
  if (operation.polling) {
    io_uring_prep_poll_add(&entry, operation.fd, readiness_for(operation.kind));
    return;
  }
  switch (operation.kind) {
    case Kind::kRead:
    case Kind::kWrite:
      return prepare_transfer(entry, operation);
    case Kind::kDataSync:
      return io_uring_prep_fsync(&entry, operation.fd, IORING_FSYNC_DATASYNC);
    case Kind::kAllocate:
      return io_uring_prep_fallocate(&entry, operation.fd, operation.flags,
                                     static_cast<off_t>(operation.offset),
                                     static_cast<off_t>(operation.length));
    case Kind::kPoll:
      return io_uring_prep_poll_add(&entry, operation.fd, static_cast<unsigned>(operation.flags));
    case Kind::kAccept:
      return io_uring_prep_accept(&entry, operation.fd, nullptr, nullptr, SOCK_CLOEXEC);
    case Kind::kConnect:
      return io_uring_prep_connect(&entry, operation.fd,
                                   static_cast<const sockaddr*>(operation.message->msg_name),
                                   operation.message->msg_namelen);
    case Kind::kReceive:
      return io_uring_prep_recvmsg(&entry, operation.fd, operation.message,
                                   static_cast<unsigned>(operation.flags));
    case Kind::kSend:
      return io_uring_prep_sendmsg(&entry, operation.fd, operation.message,
                                   static_cast<unsigned>(operation.flags | MSG_NOSIGNAL));
    case Kind::kCancel:
      return io_uring_prep_cancel(&entry, operation.target, 0);
    case Kind::kTimer:
    case Kind::kSignal:
      break;
  }
  assert(false);  // the loop keeps its timers itself, signals are sent at once
  std::unreachable();
}

/// The kernel could not go on now, but could later.
bool wants_another_try(const IoOperation& operation, int result) {
  using Kind = IoOperation::Kind;
  if (operation.kind == Kind::kPoll || operation.kind == Kind::kCancel) return false;
  if (result == -EINTR) return true;
  const bool transfer = operation.kind == Kind::kRead || operation.kind == Kind::kWrite;
  const int asked_not_to_wait = transfer                       ? RWF_NOWAIT
                                : operation.message != nullptr ? MSG_DONTWAIT
                                                               : 0;
  return result == -EAGAIN && (operation.flags & asked_not_to_wait) == 0;
}

}  // namespace

std::unique_ptr<IoEngine> RingEngine::create(WakeDescriptor& wake) {
  io_uring ring;
  if (!set_up(ring)) return nullptr;
  return std::unique_ptr<IoEngine>(new RingEngine(ring, wake));
}

RingEngine::~RingEngine() {
  assert(in_flight_ == 0);
  // The read of the wake descriptor ends with the ring: it writes only when the descriptor is
  // signalled to this thread's ring, which nobody reaps any more.
  io_uring_queue_exit(&ring_);
}

io_uring_sqe* RingEngine::free_entry() noexcept { return io_uring_get_sqe(&ring_); }

bool RingEngine::enqueue(IoOperation& operation) noexcept {
  io_uring_sqe* entry = free_entry();
  if (entry == nullptr) return false;
  prepare(*entry, operation);
  io_uring_sqe_set_data(entry, &operation);
  if (max_batch_ != 0 && io_uring_sq_ready(&ring_) >= max_batch_) io_uring_submit(&ring_);
  return true;
}

void RingEngine::enqueue_or_keep(IoOperation& operation) noexcept {
  if (!backlog_.empty() || !enqueue(operation)) backlog_.push(operation);
}

/// Without a completion: nobody would do anything with it but wake up.
void RingEngine::send_signal(int fd) noexcept {
  static constexpr uint64_t kOne = 1;
  io_uring_sqe* entry = free_entry();
  if (entry == nullptr) {
    io_uring_submit(&ring_);
    entry = free_entry();
  }
  if (entry == nullptr) {
    [[maybe_unused]] const ssize_t wrote = write(fd, &kOne, sizeof kOne);
    return;
  }
  io_uring_prep_write(entry, fd, &kOne, sizeof kOne, 0);
  if ((ring_.features & IORING_FEAT_CQE_SKIP) != 0) entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(entry, kIgnoredTag);
}

void RingEngine::submit(IoOperation& operation) noexcept {
  if (operation.kind == IoOperation::Kind::kSignal) return send_signal(operation.fd);
  ++in_flight_;
  operation.polling = false;
  if (operation.kind == IoOperation::Kind::kCancel && backlog_.remove(*operation.target)) {
    operation.target->result = -ECANCELED;
    ended_.push(*operation.target);
    operation.result = 0;
    ended_.push(operation);
    return;
  }
  enqueue_or_keep(operation);
}

void RingEngine::feed() noexcept {
  while (io_uring_sq_space_left(&ring_) != 0) {
    Posted* work = backlog_.pop();
    if (work == nullptr) return;
    enqueue(static_cast<IoOperation&>(*work));
  }
}

void RingEngine::arm_wake() noexcept {
  if (wake_armed_) return;
  io_uring_sqe* entry = free_entry();
  if (entry == nullptr) {
    io_uring_submit(&ring_);
    entry = free_entry();
    if (entry == nullptr) return;
  }
  io_uring_prep_read(entry, wake_.fd(), &wake_count_, sizeof wake_count_, 0);
  io_uring_sqe_set_data64(entry, kWakeTag);
  wake_armed_ = true;
}

void RingEngine::start() noexcept {
  const unsigned flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
  const bool kernel_has_news = (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
  if (io_uring_sq_ready(&ring_) != 0 || kernel_has_news) io_uring_submit_and_get_events(&ring_);
}

void RingEngine::wait(uint64_t timeout_ns) noexcept {
  // Errors are passing ones: interrupted, out of memory for now, completions to reap first.
  if (timeout_ns == kForever) {
    io_uring_submit_and_wait(&ring_, 1);
    return;
  }
  constexpr uint64_t kSecond = 1'000'000'000;
  __kernel_timespec timeout = {.tv_sec = static_cast<int64_t>(timeout_ns / kSecond),
                               .tv_nsec = static_cast<long long>(timeout_ns % kSecond)};
  io_uring_cqe* first = nullptr;
  io_uring_submit_and_wait_timeout(&ring_, &first, 1, &timeout, nullptr);
}

void RingEngine::turn(uint64_t timeout_ns, PostedQueue& finished) noexcept {
  while (Posted* work = ended_.pop()) {
    --in_flight_;
    finished.push(*work);
    timeout_ns = 0;
  }
  feed();
  if (!backlog_.empty()) timeout_ns = 0;
  if (timeout_ns != 0) arm_wake();
  if (timeout_ns != 0 && wake_armed_) {
    wait(timeout_ns);
  } else {
    start();
  }
  reap(finished);
}

void RingEngine::reap(PostedQueue& finished) noexcept {
  unsigned head = 0;
  unsigned seen = 0;
  io_uring_cqe* entry = nullptr;
  io_uring_for_each_cqe(&ring_, head, entry) {
    complete(entry->user_data, entry->res, finished);
    ++seen;
  }
  if (seen != 0) io_uring_cq_advance(&ring_, seen);
}

void RingEngine::complete(uint64_t user_data, int result, PostedQueue& finished) noexcept {
  if (user_data == kIgnoredTag) return;
  if (user_data == kWakeTag) {
    wake_armed_ = false;
    return;
  }
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the ring carries pointers as numbers
  auto& operation = *reinterpret_cast<IoOperation*>(user_data);
  if (!ending_) {
    if (operation.polling && result >= 0) {
      operation.polling = false;
      return enqueue_or_keep(operation);
    }
    if (wants_another_try(operation, result)) {
      operation.polling = result == -EAGAIN;
      return enqueue_or_keep(operation);
    }
  }
  operation.result = ending_ && operation.polling ? -ECANCELED : result;
  --in_flight_;
  finished.push(operation);
}

void RingEngine::cancel_all() noexcept {
  ending_ = true;
  while (Posted* work = backlog_.pop()) {
    static_cast<IoOperation*>(work)->result = -ECANCELED;
    ended_.push(*work);
  }
  io_uring_sqe* entry = free_entry();
  if (entry == nullptr) {
    io_uring_submit(&ring_);
    entry = free_entry();
    if (entry == nullptr) return;
  }
  io_uring_prep_cancel(entry, nullptr, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
  io_uring_sqe_set_data64(entry, kIgnoredTag);
}

}  // namespace ashlar
