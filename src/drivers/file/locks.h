// Locks on image files that other processes see: one byte of the file per permission.
#pragma once

#include <cstdint>
#include <string>

#include "ashlar/error.h"
#include "ashlar/permissions.h"

namespace ashlar::file {

/// The locks that one open file description holds. A permission in use is a shared lock on byte
/// 100 + n, one that others must not use a shared lock on byte 200 + n, where n counts the
/// permissions from kConsistentRead. Who takes a lock then looks whether anybody holds the opposite
/// one. The kernel drops all of them when the descriptor is closed.
class ByteLocks {
 public:
  ByteLocks() = default;
  ByteLocks(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  /// Either takes all and gives up the rest, or changes nothing.
  /// Errors: kLocked with reason "lock-used" {permission, path} when others do not share what is
  /// wanted, "lock-shared" {permission, path} when they use what is not shared; "lock-byte"
  /// {byte, path} when a byte is locked by a stranger or cannot be locked.
  Result<void> change(Permissions used, Permissions shared);

  /// Takes what is held on `fd` as well and goes on with that. False when the kernel cannot: then
  /// everything stays on the old descriptor.
  bool move_to(int fd) noexcept;

 private:
  Result<void> take(uint8_t used, uint8_t unshared);
  Result<void> look_for_conflicts(uint8_t used, uint8_t unshared) const;

  int fd_ = -1;
  std::string path_;
  uint8_t used_ = 0;      // bits of Permission that are locked
  uint8_t unshared_ = 0;  // likewise
};

/// Whether the kernel has locks that belong to descriptors.
bool locks_supported() noexcept;

}  // namespace ashlar::file
