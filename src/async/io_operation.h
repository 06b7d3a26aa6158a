// File, socket and timer operations: awaiters that a loop carries out. No allocation: the
// operation lives in the frame of the coroutine that awaits it.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <coroutine>
#include <cstdint>

#include "ashlar/loop.h"

namespace ashlar {

class IoEngine;

/// One operation. Fill it with a factory, then `co_await` it: the value is the kernel's result, or
/// -errno. Reads and writes may be short; the caller repeats.
class IoOperation : public Posted {
 public:
  enum class Kind : uint8_t {
    kRead,      ///< preadv2(fd, vectors, offset)
    kWrite,     ///< pwritev2(fd, vectors, offset, flags: RWF_DSYNC)
    kDataSync,  ///< fdatasync(fd)
    kAllocate,  ///< fallocate(fd, flags, offset, length)
    kTimer,     ///< fires when now_ns() >= offset; always on this loop
    kPoll,      ///< waits for `flags` (POLLIN ...) on fd; the value is the ready events
    kAccept,    ///< accept4(fd); the value is the new descriptor
    kConnect,   ///< connect(fd, message.msg_name, message.msg_namelen)
    kReceive,   ///< recvmsg(fd, message, flags)
    kSend,      ///< sendmsg(fd, message, flags | MSG_NOSIGNAL)
    kCancel,    ///< cancels `target`, which then ends with -ECANCELED if it was not too late;
                ///< the value is 0, or -ENOENT or -EALREADY if it was
    kSignal,    ///< adds 1 to the eventfd fd. Submitted and forgotten: not awaited, never ended;
                ///< fd stays open until the loop has turned
  };

  // Not an aggregate: GCC 12 destroys aggregate awaiters twice.
  IoOperation() noexcept {}

  static IoOperation read(int fd, const iovec* vectors, unsigned count, uint64_t offset);
  static IoOperation write(int fd, const iovec* vectors, unsigned count, uint64_t offset);
  static IoOperation data_sync(int fd);
  static IoOperation allocate(int fd, int mode, uint64_t offset, uint64_t length);
  static IoOperation timer(uint64_t deadline_ns);
  static IoOperation poll(int fd, short events);
  static IoOperation accept(int fd);
  /// `address.msg_name` and `msg_namelen` say where to.
  static IoOperation connect(int fd, msghdr& address);
  static IoOperation receive(int fd, msghdr& message, int flags = 0);
  static IoOperation send(int fd, msghdr& message, int flags = 0);
  /// `target` may have finished already; it is not looked into.
  static IoOperation cancel(IoOperation& target);
  static IoOperation signal(int fd);

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept {
    waiter = self;
    run = resume_waiter;
    Loop::current().submit(*this);
  }
  int64_t await_resume() const noexcept { return result; }

  Kind kind = Kind::kRead;
  int fd = -1;
  int flags = 0;
  unsigned count = 0;
  const iovec* vectors = nullptr;
  msghdr* message = nullptr;
  IoOperation* target = nullptr;
  uint64_t offset = 0;
  uint64_t length = 0;
  int64_t result = 0;
  std::coroutine_handle<> waiter;
  IoEngine* engine = nullptr;  ///< who carries it out
  bool polling = false;        ///< waits for the descriptor to be ready before it tries again

  static void resume_waiter(Posted& work) noexcept {
    static_cast<IoOperation&>(work).waiter.resume();
  }
};

}  // namespace ashlar
