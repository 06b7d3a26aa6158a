// Opening, asking and closing files.
#include "drivers/file/descriptor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace ashlar::file {

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> Descriptor::close() {
  if (fd_ < 0 || ::close(std::exchange(fd_, -1)) == 0 || errno == EINTR) return ok();
  return fail(Error::from_errno(errno, "close"));
}

Opened open_path(const std::string& path, int flags, unsigned mode) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return {Descriptor(), errno};
  Descriptor descriptor(fd);
  const int now = ::fcntl(fd, F_GETFL);
  if (now < 0 || ::fcntl(fd, F_SETFL, now & ~O_NONBLOCK) < 0) return {Descriptor(), errno};
  return {std::move(descriptor), 0};
}

Opened open_again(const Descriptor& descriptor, const std::string& path, int flags) {
  Opened again = open_path("/proc/self/fd/" + std::to_string(descriptor.get()), flags);
  if (again.descriptor || again.os_error != ENOENT) return again;
  // No /proc here: by its name, if that still leads to the same file.
  again = open_path(path, flags);
  struct stat before, after;
  if (again.descriptor &&
      (::fstat(descriptor.get(), &before) != 0 || ::fstat(again.descriptor.get(), &after) != 0 ||
       before.st_dev != after.st_dev || before.st_ino != after.st_ino)) {
    return {Descriptor(), ESTALE};
  }
  return again;
}

Result<FileFacts> facts_of(const Descriptor& descriptor, const std::string& path) {
  struct stat status;
  if (::fstat(descriptor.get(), &status) != 0) {
    return fail(Error::from_errno(errno, fmt::format("look at \"{}\"", path)));
  }
  FileFacts facts;
  facts.allocated = static_cast<uint64_t>(status.st_blocks) * 512;
  if (S_ISREG(status.st_mode)) {
    facts.kind = FileFacts::Kind::kRegular;
    facts.size = static_cast<uint64_t>(status.st_size);
  } else if (S_ISBLK(status.st_mode)) {
    facts.kind = FileFacts::Kind::kBlockDevice;
    if (::ioctl(descriptor.get(), BLKGETSIZE64, &facts.size) != 0) {
      return fail(Error::from_errno(errno, fmt::format("ask \"{}\" for its size", path)));
    }
  } else if (S_ISCHR(status.st_mode)) {
    facts.kind = FileFacts::Kind::kCharacterDevice;
    const off_t end = ::lseek(descriptor.get(), 0, SEEK_END);
    facts.size = end > 0 ? static_cast<uint64_t>(end) : 0;
  }
  return facts;
}

Error transfer_error(int os_error, std::string_view verb, ByteRange range,
                     const std::string& path) {
  return Error::from_errno(os_error, fmt::format("{} {} bytes at {:#x} of \"{}\"", verb,
                                                 range.length, range.offset, path));
}

}  // namespace ashlar::file
