// Byte locks by fcntl.
#include "drivers/file/locks.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>
#include <cerrno>

#include "drivers/file/descriptor.h"

namespace ashlar::file {
namespace {

constexpr off_t kUsedByte = 100;
constexpr off_t kUnsharedByte = 200;
constexpr unsigned kPermissions = 4;
constexpr uint8_t kAllBits = (1u << kPermissions) - 1;

struct flock byte_lock(short type, off_t byte) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

/// 0 or errno.
int set_lock(int fd, short type, off_t byte) {
  struct flock lock = byte_lock(type, byte);
  int result = 0;
  do {
    result = ::fcntl(fd, F_OFD_SETLK, &lock);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

/// Would an exclusive lock meet somebody else's?
bool locked_by_others(int fd, off_t byte) {
  struct flock lock = byte_lock(F_WRLCK, byte);
  return ::fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

std::string name_of(unsigned index) {
  constexpr std::array<const char*, kPermissions> kNames = {"consistent read", "write",
                                                            "write unchanged", "resize"};
  return kNames[index];
}

/// Sets or drops the locks of `bits` from `first_byte`; the byte that failed and why.
struct Failure {
  off_t byte = 0;
  int os_error = 0;
};
Failure set_locks(int fd, short type, off_t first_byte, uint8_t bits) {
  for (unsigned index = 0; index < kPermissions; ++index) {
    if ((bits & 1u << index) == 0) continue;
    const off_t byte = first_byte + static_cast<off_t>(index);
    if (const int os_error = set_lock(fd, type, byte); os_error != 0) return {byte, os_error};
  }
  return {};
}

}  // namespace

Result<void> ByteLocks::change(Permissions used, Permissions shared) {
  if (fd_ < 0) return ok();
  const uint8_t want_used = used.bits();
  const uint8_t want_unshared = static_cast<uint8_t>(~shared.bits() & kAllBits);
  const auto new_used = static_cast<uint8_t>(want_used & ~used_);
  const auto new_unshared = static_cast<uint8_t>(want_unshared & ~unshared_);

  // Lock first, look second: of two processes that do so at once, at least one sees the other.
  Result<void> taken = take(new_used, new_unshared);
  if (taken) taken = look_for_conflicts(new_used, new_unshared);
  if (!taken) {
    set_locks(fd_, F_UNLCK, kUsedByte, new_used);
    set_locks(fd_, F_UNLCK, kUnsharedByte, new_unshared);
    return taken;
  }
  set_locks(fd_, F_UNLCK, kUsedByte, static_cast<uint8_t>(used_ & ~want_used));
  set_locks(fd_, F_UNLCK, kUnsharedByte, static_cast<uint8_t>(unshared_ & ~want_unshared));
  used_ = want_used;
  unshared_ = want_unshared;
  return ok();
}

Result<void> ByteLocks::take(uint8_t used, uint8_t unshared) {
  Failure failure = set_locks(fd_, F_RDLCK, kUsedByte, used);
  if (failure.os_error == 0) failure = set_locks(fd_, F_RDLCK, kUnsharedByte, unshared);
  if (failure.os_error == 0) return ok();
  const std::string byte = std::to_string(failure.byte);
  if (failure.os_error == EAGAIN || failure.os_error == EACCES) {
    return fail(Error(ErrorCode::kLocked, fmt::format("byte {} of \"{}\" is locked by another "
                                                      "program",
                                                      byte, path_))
                    .because("lock-byte", {byte, path_}));
  }
  return fail(
      Error::from_errno(failure.os_error, fmt::format("lock byte {} of \"{}\"", byte, path_))
          .because("lock-byte", {byte, path_}));
}

Result<void> ByteLocks::look_for_conflicts(uint8_t used, uint8_t unshared) const {
  for (unsigned index = 0; index < kPermissions; ++index) {
    const auto at = static_cast<off_t>(index);
    if ((used & 1u << index) != 0 && locked_by_others(fd_, kUnsharedByte + at)) {
      return fail(Error(ErrorCode::kLocked,
                        fmt::format("another user of \"{}\" does not share \"{}\" with others",
                                    path_, name_of(index)))
                      .because("lock-used", {name_of(index), path_}));
    }
    if ((unshared & 1u << index) != 0 && locked_by_others(fd_, kUsedByte + at)) {
      return fail(Error(ErrorCode::kLocked,
                        fmt::format("\"{}\" of \"{}\" is in use by another and cannot be kept "
                                    "from others",
                                    name_of(index), path_))
                      .because("lock-shared", {name_of(index), path_}));
    }
  }
  return ok();
}

bool ByteLocks::move_to(int fd) noexcept {
  if (fd_ < 0) return true;
  if (set_locks(fd, F_RDLCK, kUsedByte, used_).os_error != 0 ||
      set_locks(fd, F_RDLCK, kUnsharedByte, unshared_).os_error != 0) {
    return false;
  }
  fd_ = fd;
  return true;
}

bool locks_supported() noexcept {
  const Opened null = open_path("/dev/null", O_RDWR);
  if (!null.descriptor) return true;  // the real file will tell
  struct flock lock = byte_lock(F_WRLCK, 0);
  return ::fcntl(null.descriptor.get(), F_OFD_GETLK, &lock) == 0 || errno != EINVAL;
}

}  // namespace ashlar::file
