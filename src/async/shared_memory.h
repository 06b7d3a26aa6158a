// Memory that is shared with another process through a descriptor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "async/bus_error_guard.h"
#include "async/owned_descriptor.h"

namespace ashlar {

/// A shared mapping, readable and writable. Unmapped with its owner.
/// The other process may change the bytes at any time, and may take the file away: see broken().
class SharedMemory {
 public:
  /// Maps `part` of the file behind `descriptor`, which may be closed afterwards.
  /// Errors: reason "memory-size" when the file is shorter; as of mmap.
  static Result<SharedMemory> map(const OwnedDescriptor& descriptor, ByteRange part);

  /// New zeroed memory of `size` bytes, and the descriptor to pass on. It cannot shrink or grow.
  static Result<std::pair<SharedMemory, OwnedDescriptor>> create(const std::string& name,
                                                                 uint64_t size);
  /// The same without the seals, as careless or hostile owners make it: for tests.
  static Result<std::pair<SharedMemory, OwnedDescriptor>> create_unsealed(const std::string& name,
                                                                          uint64_t size);

  SharedMemory(SharedMemory&& other) noexcept
      : pages_(std::exchange(other.pages_, {})),
        bytes_(std::exchange(other.bytes_, {})),
        guard_(std::exchange(other.guard_, std::nullopt)) {}
  SharedMemory& operator=(SharedMemory other) noexcept {
    std::swap(pages_, other.pages_);
    std::swap(bytes_, other.bytes_);
    std::swap(guard_, other.guard_);
    return *this;
  }
  ~SharedMemory();

  std::span<std::byte> bytes() const noexcept { return bytes_; }
  /// The file lost bytes that somebody touched; the memory is an empty private one since then.
  bool broken() const noexcept { return guard_->broken(); }

 private:
  SharedMemory(std::span<std::byte> pages, std::span<std::byte> bytes, BusErrorGuard guard)
      : pages_(pages), bytes_(bytes), guard_(std::move(guard)) {}

  std::span<std::byte> pages_;  // what is mapped: whole pages
  std::span<std::byte> bytes_;  // what was asked for
  std::optional<BusErrorGuard> guard_;
};

/// Cuts the file behind `descriptor` to `size` bytes: what a hostile owner does, for tests.
Result<void> truncate_shared(const OwnedDescriptor& descriptor, uint64_t size);

}  // namespace ashlar
