// /dev/fuse as an event loop uses it: descriptors that never wait, one for each loop.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>

#include "ashlar/error.h"

namespace ashlar {

/// A descriptor of a FUSE connection. What was received through one is answered through the same.
class FuseDevice {
 public:
  /// The descriptor that a mount gave, which its session closes.
  static FuseDevice of_session(int fd);
  /// A further one of the same connection. Errors: of open() and ioctl().
  static Result<FuseDevice> clone_of(int fd);
  FuseDevice(FuseDevice&& other) noexcept;
  FuseDevice& operator=(FuseDevice&&) = delete;
  ~FuseDevice();

  int fd() const noexcept { return fd_; }
  /// The next request, or -EAGAIN when there is none; -ENODEV when the file system has gone.
  int64_t receive(std::span<std::byte> into) const noexcept;

 private:
  enum class Owner : uint8_t { kSession, kThis };
  FuseDevice(int fd, Owner owner) : fd_(fd), owner_(owner) {}

  int fd_;
  Owner owner_;
};

/// writev(); the bytes written, or -1 with errno set, as libfuse wants it.
ssize_t send_to_fuse(int fd, const iovec* parts, int count) noexcept;
/// read(), likewise.
ssize_t receive_from_fuse(int fd, std::span<std::byte> into) noexcept;

/// Who runs this process.
struct ProcessOwner {
  uid_t user;
  gid_t group;
};
ProcessOwner process_owner() noexcept;

/// Whether `path` names a regular file. May wait for the file system it is on.
/// Errors: of stat(), with the bare errno.
Result<bool> is_regular_file(const std::string& path);

}  // namespace ashlar
