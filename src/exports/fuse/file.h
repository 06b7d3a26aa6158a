// What the exported file does, whoever asks: a backend with the manners of a regular file.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

#include "ashlar/backend.h"
#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/task.h"
#include "async/sync.h"

namespace ashlar::fuse {

/// Of a file: who may use it, and since when it is as it is.
struct FileStatus {
  uint64_t size = 0;
  uint64_t allocated = 0;    ///< bytes it occupies in the host's file system
  uint32_t permissions = 0;  ///< as of chmod
  uint32_t user = 0;
  uint32_t group = 0;
  uint64_t changed_ns = 0;  ///< since the epoch
};

/// The file. Requests from any loop. Errors carry the errno that a client sees.
class ExportedFile {
 public:
  enum class Access : uint8_t { kReadOnly, kWritable };
  enum class Growth : uint8_t { kFixed, kByWriting };
  enum class Others : uint8_t { kShutOut, kAllowed };  ///< users besides the one who mounted
  struct Manners {
    Access access = Access::kReadOnly;
    Growth growth = Growth::kFixed;
    Others others = Others::kShutOut;
  };
  ExportedFile(Backend& backend, Manners manners, FileStatus owned_by);

  /// Size 0 without a medium.
  FileStatus status() const;
  bool has_medium() const { return backend_.size().has_value(); }
  /// A medium or a size has changed at `now_ns`.
  void touch(uint64_t now_ns) noexcept { changed_ns_.store(now_ns); }

  /// Reads what there is of `range`: less at the end, nothing after it.
  Task<Result<size_t>> read(ByteRange range, MutableBuffers into);
  /// Writes what fits, growing the file when it may; nothing fits: kIo.
  Task<Result<size_t>> write(ByteRange range, ConstBuffers from);
  Task<Result<void>> flush();

  enum class Allocation : uint8_t {
    kReserve,       ///< grows; nothing can be reserved inside of the file
    kPunch,         ///< zeroes without room, inside of the file
    kZero,          ///< zeroes; grows
    kZeroKeepSize,  ///< zeroes inside of the file
  };
  Task<Result<void>> allocate(Allocation how, ByteRange range);

  enum class Seek : uint8_t { kData, kHole };
  /// The next data or hole from `offset` on. Errors: kNotFound (ENXIO) when there is none,
  /// kCancelled when `cancelled` says so: a file can have very many extents.
  Task<Result<uint64_t>> seek(uint64_t offset, Seek what, std::function<bool()> cancelled);

  Task<Result<void>> truncate(uint64_t size);
  Result<void> change_permissions(uint32_t permissions);
  Result<void> change_owner(std::optional<uint32_t> user, std::optional<uint32_t> group);

 private:
  Result<void> check_writable() const;
  Task<Result<void>> grow(uint64_t size, Preallocation preallocation);

  Backend& backend_;
  const Manners manners_;
  Mutex growing_;  // two writers past the end must not shrink each other's file
  std::atomic<uint32_t> permissions_;
  std::atomic<uint32_t> user_;
  std::atomic<uint32_t> group_;
  std::atomic<uint64_t> changed_ns_;
};

}  // namespace ashlar::fuse
