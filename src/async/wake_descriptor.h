// An eventfd with which any thread ends the sleep of a loop.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace ashlar {

class WakeDescriptor {
 public:
  WakeDescriptor() = default;
  WakeDescriptor(const WakeDescriptor&) = delete;
  WakeDescriptor& operator=(const WakeDescriptor&) = delete;
  ~WakeDescriptor() {
    if (fd_ >= 0) close(fd_);
  }

  /// Makes sure that there is one. False when the process has no descriptor left.
  bool open() noexcept {
    // Blocking: a ring answers a read of a non-blocking one at once.
    if (fd_ < 0) fd_ = eventfd(0, EFD_CLOEXEC);
    return fd_ >= 0;
  }
  int fd() const noexcept { return fd_; }

  /// From any thread, after open().
  void signal() noexcept {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t wrote = write(fd_, &one, sizeof one);
  }
  /// Takes all signals back. Blocks when there is none.
  void clear() noexcept {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(fd_, &count, sizeof count);
  }

 private:
  int fd_ = -1;
};

}  // namespace ashlar
