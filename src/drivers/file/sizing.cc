// ftruncate, fallocate, and writing zeroes.
#include "drivers/file/sizing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace ashlar::file {
namespace {

/// 0 or errno.
int truncate_to(int fd, uint64_t size) {
  int result = 0;
  do {
    result = ::ftruncate(fd, static_cast<off_t>(size));
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

/// 0 or errno. Where the file system cannot reserve, the C library writes to every block.
int reserve(int fd, ByteRange range) {
  int result = 0;
  do {
    result =
        ::posix_fallocate(fd, static_cast<off_t>(range.offset), static_cast<off_t>(range.length));
  } while (result == EINTR);
  return result;
}

alignas(4096) constexpr std::array<std::byte, 256_KiB> kZeroes{};

/// 0 or errno.
int write_zeroes(int fd, ByteRange range) {
  while (!range.empty()) {
    const uint64_t length = range.first(kZeroes.size()).length;
    const ssize_t done = ::pwrite(fd, kZeroes.data(), length, static_cast<off_t>(range.offset));
    if (done == 0) return ENOSPC;
    if (done < 0 && errno != EINTR) return errno;
    if (done > 0) range = range.after(static_cast<uint64_t>(done));
  }
  return ::fdatasync(fd) == 0 ? 0 : errno;
}

int grow(int fd, uint64_t from, Sizing wanted) {
  const ByteRange added{from, wanted.size - from};
  switch (wanted.preallocation) {
    case Preallocation::kFalloc:
      return reserve(fd, added);
    case Preallocation::kFull:
      return write_zeroes(fd, added);
    case Preallocation::kOff:
    case Preallocation::kMetadata:
      break;
  }
  return truncate_to(fd, wanted.size);
}

/// Puts a block at the start of a file that had none: from a file that is all hole, nobody can find
/// out how direct access to it must be aligned. Of no consequence when it fails.
void allocate_first_block(int fd, uint64_t size) {
  const uint64_t length = std::min<uint64_t>(size, 4096);
  if (::pwrite(fd, kZeroes.data(), length, 0) < 0) return;
}

}  // namespace

Result<void> check_preallocation(Preallocation preallocation) {
  if (preallocation != Preallocation::kMetadata) return ok();
  return fail(Error(ErrorCode::kInvalidArgument,
                    "files have no metadata to preallocate; off, falloc and full are possible")
                  .because("file-preallocation", {"metadata"}));
}

Result<void> set_file_size(const Descriptor& descriptor, const std::string& path, Sizing wanted) {
  if (Result<void> possible = check_preallocation(wanted.preallocation); !possible) {
    return possible;
  }
  const Result<FileFacts> before = facts_of(descriptor, path);
  if (!before) return fail(before.error());
  const int fd = descriptor.get();
  int os_error = 0;
  if (wanted.size > before->size) {
    os_error = grow(fd, before->size, wanted);
    if (os_error != 0) {
      (void)truncate_to(fd, before->size);
    } else if (before->size == 0) {
      allocate_first_block(fd, wanted.size);
    }
  } else if (wanted.size == before->size) {
    return ok();
  } else if (wanted.preallocation != Preallocation::kOff) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("\"{}\" shrinks from {} to {} bytes: nothing to preallocate",
                                  path, before->size, wanted.size))
                    .because("file-preallocation-shrink"));
  } else {
    os_error = truncate_to(fd, wanted.size);
  }
  if (os_error == 0) return ok();
  return fail(
      Error::from_errno(os_error, fmt::format("set the size of \"{}\" to {}", path, wanted.size))
          .because("file-resize", {path}));
}

}  // namespace ashlar::file
