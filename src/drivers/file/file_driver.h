// The driver of files and block devices of the host, opened.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "ashlar/driver.h"
#include "async/sync.h"
#include "drivers/file/descriptor.h"
#include "drivers/file/extents.h"
#include "drivers/file/locks.h"
#include "drivers/file/opening.h"

namespace ashlar::file {

/// What is decided when a file is opened and stays so.
struct FileSetup {
  std::string path;
  Flavor flavor = Flavor::kFile;
  OpenFlags flags;
  std::string locking = "auto";
  std::string aio = "threads";
  bool drop_cache = true;
  unsigned loops = 1;  ///< of the runtime
};
/// Errors: kInvalidArgument "file-native-needs-direct".
Result<void> check_setup(const FileSetup& setup);

class FileDriver final : public Driver {
 public:
  FileDriver(FileSetup setup, Descriptor descriptor, Alignment alignment, ByteLocks locks);

  NodeInfo info() const override;
  std::optional<Result<void>> read_now(ByteRange range, MutableBuffers into) noexcept override;
  std::optional<Result<void>> write_now(ByteRange range, ConstBuffers from) noexcept override;
  Task<Result<void>> read(ByteRange range, MutableBuffers into) override;
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags) override;
  Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags) override;
  Task<Result<void>> discard(ByteRange range) override;
  Task<Result<void>> reserve(ByteRange range) override;
  Task<Result<void>> flush() override;
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override;
  Task<Result<Extent>> status(ByteRange range) override;
  std::optional<uint64_t> allocated_size() const override;
  OptionDict naming_options() const override;
  Result<void> apply_permissions(Permissions used, Permissions shared) override;
  Task<Result<std::unique_ptr<PreparedReopen>>> prepare_reopen(OptionDict& options,
                                                               const OpenFlags& flags) override;
  Task<Result<void>> close() override;

 private:
  class Reopening;

  /// What one loop keeps for itself.
  struct alignas(64) LoopState {
    ChangeCounts changes;
    ExtentMemory extents;
    uint64_t write_inline_from_ns = 0;  // until then, writes went slowly inline
  };
  LoopState& mine() noexcept;
  ExtentMemory::Seen changes_seen() const noexcept;

  bool writes_inline(ByteRange range, const LoopState& state) const noexcept;
  std::optional<Result<void>> try_inline_write(ByteRange range, ConstBuffers from) noexcept;
  Task<int> allocate(int mode, ByteRange range);
  Task<Result<void>> unmap(ByteRange range);
  Task<Result<void>> zero_in_place(ByteRange range);
  Task<Result<void>> discard_device(ByteRange range);
  Task<Result<void>> grow_to(uint64_t end);
  Task<Result<void>> sync();
  bool is_device() const { return setup_.flavor == Flavor::kHostDevice; }

  FileSetup setup_;
  Descriptor descriptor_;
  Descriptor locked_;  // only where the locks could not move to the present descriptor
  Alignment alignment_;
  ByteLocks locks_;
  std::unique_ptr<LoopState[]> loops_;
  std::atomic<bool> exclusive_{false};  // no other process writes

  // What the file system has refused once it is not asked for again.
  std::atomic<bool> can_zero_{true};
  std::atomic<bool> can_punch_{true};

  Mutex flushing_;
  std::atomic<uint64_t> flushes_asked_{0};
  std::atomic<uint64_t> flushes_done_{0};  // all that were asked up to this one
  std::atomic<int> lost_writes_{0};        // errno of the first flush that failed
};

}  // namespace ashlar::file
