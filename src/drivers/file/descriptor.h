// An owned file descriptor, and what system calls on files answer.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "ashlar/bytes.h"
#include "ashlar/error.h"

namespace ashlar::file {

/// Closes the descriptor with its owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Errors: kIo and the like, where a file system reports late.
  Result<void> close();

 private:
  int fd_ = -1;
};

/// Opens without waiting for the other end of a pipe, and leaves no trace of that: with O_NONBLOCK
/// set, the kernel would refuse instead of waiting. Errors: errno in `os_error`.
struct Opened {
  Descriptor descriptor;
  int os_error = 0;
};
Opened open_path(const std::string& path, int flags, unsigned mode = 0);
/// The same file again with other flags, even if its name has gone.
Opened open_again(const Descriptor& descriptor, const std::string& path, int flags);

/// What is known of a file without reading it.
struct FileFacts {
  enum class Kind : uint8_t {
    kRegular,
    kBlockDevice,
    kCharacterDevice,
    kOther
  } kind = Kind::kOther;
  uint64_t size = 0;
  uint64_t allocated = 0;  ///< bytes in the host's file system
};
Result<FileFacts> facts_of(const Descriptor& descriptor, const std::string& path);

/// `write 4096 bytes at 0x1000 of "a.img": no space left on device`
Error transfer_error(int os_error, std::string_view verb, ByteRange range, const std::string& path);

}  // namespace ashlar::file
