// Opening files for requests.
#include "drivers/file/opening.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <optional>

namespace ashlar::file {
namespace {

Error open_error(int os_error, const std::string& path) {
  return Error::from_errno(os_error, fmt::format("open \"{}\"", path)).because("file-open", {path});
}

/// EINVAL for O_DIRECT means that the file system has no direct access.
Error direct_error(int os_error, const std::string& path, const OpenFlags& flags) {
  if (os_error != EINVAL || !flags.cache_direct) return open_error(os_error, path);
  return Error(ErrorCode::kUnsupported,
               fmt::format("the file system of \"{}\" does not support cache.direct=on", path))
      .because("file-no-direct", {path});
}

Result<void> check_kind(const Descriptor& descriptor, const std::string& path, Flavor flavor) {
  Result<FileFacts> facts = facts_of(descriptor, path);
  if (!facts) return fail(facts.error());
  const bool regular = facts->kind == FileFacts::Kind::kRegular;
  const bool device = facts->kind == FileFacts::Kind::kBlockDevice ||
                      facts->kind == FileFacts::Kind::kCharacterDevice;
  if (flavor == Flavor::kFile && !regular) {
    return fail(
        Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not a regular file", path))
            .because("file-not-regular", {"file", path}));
  }
  if (flavor == Flavor::kHostDevice && !device) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("\"{}\" is not a block or character device", path))
                    .because("file-not-device", {"host_device", path}));
  }
  return ok();
}

bool plausible(uint32_t alignment) { return alignment != 0 && std::has_single_bit(alignment); }

/// What the kernel says, from Linux 6.1.
std::optional<Alignment> asked_alignment(int fd) {
  struct statx status = {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) != 0) return std::nullopt;
  if ((status.stx_mask & STATX_DIOALIGN) == 0) return std::nullopt;
  const Alignment found{status.stx_dio_offset_align, status.stx_dio_mem_align};
  if (!plausible(found.request) || !plausible(found.memory)) return std::nullopt;
  return found;
}

/// The smallest alignment with which a read at the start succeeds. Empty files take any on some
/// file systems, so that the answer is worth nothing there.
Alignment tried_alignment(int fd, uint64_t size) {
  constexpr size_t kLargest = 4096;
  alignas(kLargest) std::byte buffer[2 * kLargest];
  Alignment found{kLargest, kLargest};
  if (size == 0) return found;
  for (uint32_t length = 512; length < kLargest; length *= 2) {
    if (::pread(fd, buffer, length, 0) < 0) continue;
    found.request = length;
    break;
  }
  if (::pread(fd, buffer + 512, found.request, 0) >= 0) found.memory = 512;
  return found;
}

}  // namespace

std::string_view name_of(Flavor flavor) { return flavor == Flavor::kFile ? "file" : "host_device"; }

int access_flags(const OpenFlags& flags) {
  return (flags.read_only ? O_RDONLY : O_RDWR) | (flags.cache_direct ? O_DIRECT : 0);
}

Result<Descriptor> open_for_requests(const std::string& path, Flavor flavor,
                                     const OpenFlags& flags) {
  Opened opened = open_path(path, access_flags(flags));
  if (!opened.descriptor) return fail(direct_error(opened.os_error, path, flags));
  if (Result<void> right = check_kind(opened.descriptor, path, flavor); !right) {
    return fail(right.error());
  }
  return std::move(opened.descriptor);
}

Result<Descriptor> reopen_for_requests(const Descriptor& descriptor, const std::string& path,
                                       const OpenFlags& flags) {
  Opened opened = open_again(descriptor, path, access_flags(flags));
  if (!opened.descriptor) return fail(direct_error(opened.os_error, path, flags));
  return std::move(opened.descriptor);
}

Result<Alignment> find_alignment(const Descriptor& descriptor, const std::string& path,
                                 const OpenFlags& flags) {
  if (!flags.cache_direct) return Alignment();
  if (std::optional<Alignment> asked = asked_alignment(descriptor.get())) return *asked;
  Result<FileFacts> facts = facts_of(descriptor, path);
  if (!facts) return fail(facts.error());
  return tried_alignment(descriptor.get(), facts->size);
}

std::string path_of(std::string_view filename, Flavor flavor) {
  const std::string prefix = std::string(name_of(flavor)) + ":";
  if (!filename.starts_with(prefix)) return std::string(filename);
  filename.remove_prefix(prefix.size());
  const size_t mark = filename.find_first_of(":/");
  const bool looks_prefixed = mark != std::string_view::npos && filename[mark] == ':';
  return (looks_prefixed ? "./" : "") + std::string(filename);
}

bool is_device(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && (S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode));
}

}  // namespace ashlar::file
