// System calls on /dev/fuse and on the file it is mounted over.
#include "async/fuse_device.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace ashlar {

FuseDevice FuseDevice::of_session(int fd) {
  // Who finds nothing must get -EAGAIN: another loop may have taken what poll() announced.
  const int flags = fcntl(fd, F_GETFL);
  if (flags >= 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  return {fd, Owner::kSession};
}

Result<FuseDevice> FuseDevice::clone_of(int fd) {
  FuseDevice clone(::open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK), Owner::kThis);
  if (clone.fd_ < 0) return fail(Error::from_errno(errno, "open /dev/fuse"));
  auto original = static_cast<uint32_t>(fd);
  if (ioctl(clone.fd_, FUSE_DEV_IOC_CLONE, &original) != 0) {
    return fail(Error::from_errno(errno, "clone the descriptor of /dev/fuse"));
  }
  return clone;
}

FuseDevice::FuseDevice(FuseDevice&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), owner_(other.owner_) {}

FuseDevice::~FuseDevice() {
  if (owner_ == Owner::kThis && fd_ >= 0) close(fd_);
}

int64_t FuseDevice::receive(std::span<std::byte> into) const noexcept {
  const ssize_t count = receive_from_fuse(fd_, into);
  return count < 0 ? -errno : count;
}

ssize_t send_to_fuse(int fd, const iovec* parts, int count) noexcept {
  return writev(fd, parts, count);
}

ssize_t receive_from_fuse(int fd, std::span<std::byte> into) noexcept {
  return read(fd, into.data(), into.size());
}

ProcessOwner process_owner() noexcept { return {.user = geteuid(), .group = getegid()}; }

Result<bool> is_regular_file(const std::string& path) {
  struct stat facts{};
  if (::stat(path.c_str(), &facts) != 0) return fail(Error::from_errno(errno, "look at the file"));
  return S_ISREG(facts.st_mode);
}

}  // namespace ashlar
