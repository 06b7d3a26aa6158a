// Reading, writing, growing and punching the exported file.
#include "exports/fuse/file.h"

#include <fmt/format.h>

#include <cerrno>

#include "base/checked.h"

namespace ashlar::fuse {
namespace {

constexpr uint64_t kSector = 512;
constexpr uint32_t kPermissionBits = 07777;
constexpr uint32_t kWriteBits = 0222;
constexpr uint32_t kBitsOfOthers = 0077;

/// A failure that a client sees as `os_error`.
std::unexpected<Error> refuse(int os_error, std::string_view why) {
  return fail(Error::from_errno(os_error, why));
}

std::unexpected<Error> nothing_fits(ByteRange range, uint64_t size) {
  return fail(Error(ErrorCode::kIo, fmt::format("{:#x} is at or past the end of the file at {:#x}",
                                                range.offset, size)));
}

}  // namespace

ExportedFile::ExportedFile(Backend& backend, Manners manners, FileStatus owned_by)
    : backend_(backend),
      manners_(manners),
      permissions_(manners.access == Access::kWritable ? 0600 : 0400),
      user_(owned_by.user),
      group_(owned_by.group),
      changed_ns_(owned_by.changed_ns) {}

FileStatus ExportedFile::status() const {
  FileStatus status;
  status.size = backend_.size().value_or(0);
  status.allocated = backend_.allocated_size().value_or(status.size);
  status.permissions = permissions_.load();
  status.user = user_.load();
  status.group = group_.load();
  status.changed_ns = changed_ns_.load();
  return status;
}

Result<void> ExportedFile::check_writable() const {
  if (manners_.access == Access::kWritable) return ok();
  return refuse(EACCES, "write to an export that is read-only");
}

Task<Result<size_t>> ExportedFile::read(ByteRange range, MutableBuffers into) {
  // Again when the file became smaller in between.
  for (std::optional<uint64_t> before;;) {
    const Result<uint64_t> size = backend_.size();
    if (!size) co_return fail(size.error());
    if (range.offset >= *size) co_return size_t{0};
    const uint64_t length = std::min<uint64_t>(range.length, *size - range.offset);
    const ByteRange inside(range.offset, length);
    const Result<void> done = co_await backend_.read(inside, into.slice(0, length));
    if (done) co_return length;
    if (done.error().code() != ErrorCode::kOutOfRange || before == *size) {
      co_return fail(done.error());
    }
    before = *size;
  }
}

/// Makes the file at least `size` long.
Task<Result<void>> ExportedFile::grow(uint64_t size, Preallocation preallocation) {
  if (size > kMaxDeviceSize - kSector) co_return refuse(EFBIG, "grow the file");
  const Mutex::Guard alone = co_await growing_.lock();
  const Result<uint64_t> now = backend_.size();
  if (!now) co_return fail(now.error());
  if (*now >= size) co_return ok();
  ResizeFlags flags;
  flags.preallocation = preallocation;
  co_return co_await backend_.resize(align_up(size, kSector), flags);
}

Task<Result<size_t>> ExportedFile::write(ByteRange range, ConstBuffers from) {
  if (Result<void> allowed = check_writable(); !allowed) co_return fail(allowed.error());
  if (range.wraps()) co_return refuse(EFBIG, "write");
  const Result<uint64_t> size = backend_.size();
  if (!size) co_return fail(size.error());
  uint64_t length = range.length;
  if (range.end() > *size) {
    if (manners_.growth == Growth::kByWriting) {
      const Result<void> grown = co_await grow(range.end(), Preallocation::kOff);
      if (!grown) co_return fail(grown.error());
    } else if (range.offset >= *size) {
      co_return nothing_fits(range, *size);
    } else {
      length = *size - range.offset;
    }
  }
  const ByteRange inside(range.offset, length);
  const Result<void> done = co_await backend_.write(inside, from.slice(0, length), WriteFlags());
  if (!done) co_return fail(done.error());
  co_return length;
}

Task<Result<void>> ExportedFile::flush() { return backend_.flush(); }

Task<Result<void>> ExportedFile::allocate(Allocation how, ByteRange range) {
  if (Result<void> allowed = check_writable(); !allowed) co_return allowed;
  if (range.wraps()) co_return refuse(EFBIG, "allocate");
  const Result<uint64_t> size = backend_.size();
  if (!size) co_return fail(size.error());
  if (how == Allocation::kReserve) {
    if (range.offset < *size) co_return refuse(EOPNOTSUPP, "reserve room inside of a file");
    co_return co_await grow(range.end(), Preallocation::kFalloc);
  }
  if (how == Allocation::kZero && range.end() > *size) {
    const Result<void> grown = co_await grow(range.end(), Preallocation::kOff);
    if (!grown) co_return grown;
  } else if (range.end() > *size) {
    if (range.offset >= *size) co_return nothing_fits(range, *size);
    range.length = *size - range.offset;
  }
  ZeroFlags flags;
  flags.may_unmap = how == Allocation::kPunch;
  co_return co_await backend_.write_zeroes(range, flags);
}

Task<Result<uint64_t>> ExportedFile::seek(uint64_t offset, Seek what,
                                          std::function<bool()> cancelled) {
  const Result<uint64_t> size = backend_.size();
  if (!size) co_return fail(size.error());
  const auto nothing = [] { return refuse(ENXIO, "seek past the last data"); };
  if (offset > *size) co_return nothing();
  while (offset < *size) {
    if (cancelled()) co_return refuse(EINTR, "seek");
    const ByteRange rest(offset, *size - offset);
    const Result<Extent> extent = co_await backend_.status(rest);
    if (!extent) co_return fail(extent.error());
    const bool is_hole = extent->zero;
    if (is_hole == (what == Seek::kHole)) co_return offset;
    offset += std::max<uint64_t>(extent->length, 1);
    co_await yield();  // others have requests too
  }
  if (what == Seek::kHole) co_return *size;  // a file ends in one
  co_return nothing();
}

Task<Result<void>> ExportedFile::truncate(uint64_t size) {
  if (Result<void> allowed = check_writable(); !allowed) co_return allowed;
  if (size > kMaxDeviceSize - kSector) co_return refuse(EFBIG, "truncate");
  const Mutex::Guard alone = co_await growing_.lock();
  co_return co_await backend_.resize(size, ResizeFlags());
}

Result<void> ExportedFile::change_permissions(uint32_t permissions) {
  permissions &= kPermissionBits;
  if (manners_.others == Others::kShutOut && (permissions & kBitsOfOthers) != 0) {
    return refuse(EPERM, "let others use a file that only its owner can see");
  }
  if (manners_.access == Access::kReadOnly && (permissions & kWriteBits) != 0) {
    return refuse(EROFS, "make an export writable that is read-only");
  }
  permissions_.store(permissions);
  return ok();
}

Result<void> ExportedFile::change_owner(std::optional<uint32_t> user,
                                        std::optional<uint32_t> group) {
  if (manners_.others == Others::kShutOut) {
    return refuse(EOPNOTSUPP, "give away a file that only its owner can see");
  }
  if (user) user_.store(*user);
  if (group) group_.store(*group);
  return ok();
}

}  // namespace ashlar::fuse
