// Mapping of shared files, and making of new ones.
#include "async/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

namespace ashlar {
namespace {

constexpr uint64_t kMostPageSize = 1_GiB;

/// What offsets and lengths of a mapping of this file must be multiples of.
uint64_t page_size_of(int fd) {
  struct statfs where = {};
  const auto small = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (fstatfs(fd, &where) != 0 || where.f_type != HUGETLBFS_MAGIC) return small;
  const auto huge = static_cast<uint64_t>(where.f_bsize);
  return huge >= small && huge <= kMostPageSize ? huge : small;
}

/// The pages around `part`, which lies inside the file.
std::optional<ByteRange> pages_around(ByteRange part, uint64_t page_size) {
  if (part.empty() || part.wraps() || part.end() > kMaxDeviceSize - page_size) return std::nullopt;
  const uint64_t first = align_down(part.offset, page_size);
  return ByteRange(first, align_up(part.end(), page_size) - first);
}

Result<std::pair<SharedMemory, OwnedDescriptor>> create_memory(const std::string& name,
                                                               uint64_t size, int seals) {
  OwnedDescriptor descriptor(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!descriptor) return fail(Error::from_errno(errno, "make shared memory"));
  if (size > kMaxDeviceSize || ftruncate(descriptor.get(), static_cast<off_t>(size)) != 0) {
    return fail(Error::from_errno(size > kMaxDeviceSize ? EFBIG : errno, "size shared memory"));
  }
  if (seals != 0 && fcntl(descriptor.get(), F_ADD_SEALS, seals) != 0) {
    return fail(Error::from_errno(errno, "seal shared memory"));
  }
  Result<SharedMemory> mapped = SharedMemory::map(descriptor, {0, size});
  if (!mapped) return fail(mapped.error());
  return std::pair(std::move(*mapped), std::move(descriptor));
}

}  // namespace

Result<SharedMemory> SharedMemory::map(const OwnedDescriptor& descriptor, ByteRange part) {
  struct stat facts = {};
  if (fstat(descriptor.get(), &facts) != 0) {
    return fail(Error::from_errno(errno, "look at shared memory"));
  }
  const auto size = static_cast<uint64_t>(facts.st_size);
  const std::optional<ByteRange> pages = pages_around(part, page_size_of(descriptor.get()));
  if (!S_ISREG(facts.st_mode) || !pages || part.end() > size) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("shared memory has {:#x} bytes, not {:#x} at {:#x}", size,
                                  part.length, part.offset))
                    .because("memory-size"));
  }
  void* memory = mmap(nullptr, pages->length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                      descriptor.get(), static_cast<off_t>(pages->offset));
  if (memory == MAP_FAILED) return fail(Error::from_errno(errno, "map shared memory"));
  // What a guest holds in its memory is nobody's business in a core dump.
  (void)madvise(memory, pages->length, MADV_DONTDUMP);
  const std::span<std::byte> mapped(static_cast<std::byte*>(memory), pages->length);
  std::optional<BusErrorGuard> guard = BusErrorGuard::over(mapped);
  if (!guard) {
    munmap(memory, pages->length);
    return fail(Error(ErrorCode::kBusy, fmt::format("{} pieces of shared memory are mapped already",
                                                    BusErrorGuard::kMost))
                    .because("memory-pieces"));
  }
  return SharedMemory(mapped, mapped.subspan(part.offset - pages->offset, part.length),
                      std::move(*guard));
}

Result<std::pair<SharedMemory, OwnedDescriptor>> SharedMemory::create(const std::string& name,
                                                                      uint64_t size) {
  return create_memory(name, size, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

Result<std::pair<SharedMemory, OwnedDescriptor>> SharedMemory::create_unsealed(
    const std::string& name, uint64_t size) {
  return create_memory(name, size, 0);
}

SharedMemory::~SharedMemory() {
  guard_.reset();  // first: the addresses may be somebody else's after the next line
  if (!pages_.empty()) munmap(pages_.data(), pages_.size());
}

Result<void> truncate_shared(const OwnedDescriptor& descriptor, uint64_t size) {
  if (ftruncate(descriptor.get(), static_cast<off_t>(size)) == 0) return ok();
  return fail(Error::from_errno(errno, "cut shared memory"));
}

}  // namespace ashlar
