// Requests on files: at once where the page cache has the bytes, else by the loop.
#include "drivers/file/file_driver.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "async/io_operation.h"
#include "async/io_vectors.h"
#include "async/on_loop.h"
#include "drivers/file/sizing.h"

namespace ashlar::file {
namespace {

/// Copying more than this at once would keep the loop from everything else for too long.
constexpr uint64_t kInlineMost = 256_KiB;
/// An inline write that took longer was waiting, not copying.
constexpr uint64_t kSlowWriteNs = 1'000'000;
/// How long writes go through the loop after that.
constexpr uint64_t kPauseAfterSlowNs = 100'000'000;
/// Sizes of devices come in these.
constexpr uint64_t kSizeUnit = 512;

/// The time that a blocking call took is real time, whatever the loop's clock says.
uint64_t real_time_ns() noexcept {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() /
                               std::chrono::nanoseconds(1));
}

bool again(int64_t result) { return result == -EINTR || result == -EAGAIN; }

}  // namespace

FileDriver::FileDriver(FileSetup setup, Descriptor descriptor, Alignment alignment, ByteLocks locks)
    : setup_(std::move(setup)),
      descriptor_(std::move(descriptor)),
      alignment_(alignment),
      locks_(std::move(locks)),
      loops_(std::make_unique<LoopState[]>(setup_.loops)) {}

FileDriver::LoopState& FileDriver::mine() noexcept {
  const unsigned index = Loop::current().index();
  assert(index < setup_.loops);
  return loops_[index];
}

ExtentMemory::Seen FileDriver::changes_seen() const noexcept {
  ExtentMemory::Seen seen;
  for (unsigned index = 0; index < setup_.loops; ++index) {
    seen.writes += loops_[index].changes.writes.load(std::memory_order_acquire);
    seen.removals += loops_[index].changes.removals.load(std::memory_order_acquire);
  }
  return seen;
}

NodeInfo FileDriver::info() const {
  NodeInfo info;
  const Result<FileFacts> facts = facts_of(descriptor_, setup_.path);
  info.size = facts ? align_up(facts->size, kSizeUnit) : 0;
  info.request_alignment = alignment_.request;
  info.memory_alignment = alignment_.memory;
  info.fua = NodeInfo::Fua::kNative;
  info.zeroes = NodeInfo::Zeroes::kNative;
  info.discards = NodeInfo::Discards::kNative;
  if (!is_device()) {
    info.end = NodeInfo::End::kGrows;
    info.fresh = NodeInfo::Fresh::kZeroes;
    // The kernel copies into the page cache of one file on one core at a time.
    if (!setup_.flags.cache_direct) info.writers = NodeInfo::Writers::kOne;
  }
  return info;
}

std::optional<Result<void>> FileDriver::read_now(ByteRange range, MutableBuffers into) noexcept {
  if (setup_.flags.cache_direct || range.length > kInlineMost) return std::nullopt;
  IoVectors vectors;
  vectors.fill(into);
  const ssize_t done =
      ::preadv2(descriptor_.get(), vectors.data(), static_cast<int>(vectors.count()),
                static_cast<off_t>(range.offset), RWF_NOWAIT);
  // Not in the page cache, or the end of the file: whoever waits will find out.
  if (done < 0 || static_cast<uint64_t>(done) != range.length) return std::nullopt;
  return ok();
}

Task<Result<void>> FileDriver::read(ByteRange range, MutableBuffers into) {
  IoVectors vectors;
  uint64_t done = 0;
  while (done < range.length) {
    const MutableBuffers rest = into.from(done);
    vectors.fill(rest);
    IoOperation operation =
        IoOperation::read(descriptor_.get(), vectors.data(), vectors.count(), range.offset + done);
    const int64_t result = co_await operation;
    if (again(result)) continue;
    if (result < 0) {
      co_return fail(transfer_error(static_cast<int>(-result), "read", range, setup_.path));
    }
    done += static_cast<uint64_t>(result);
    // With direct access a part of a block means the end, and cannot be gone on from.
    if (result == 0 || !is_aligned(done, alignment_.request)) {
      into.from(done).fill(std::byte{0});
      break;
    }
  }
  co_return ok();
}

bool FileDriver::writes_inline(ByteRange range, const LoopState& state) const noexcept {
  return !setup_.flags.cache_direct && range.length <= kInlineMost &&
         (state.write_inline_from_ns == 0 || real_time_ns() >= state.write_inline_from_ns);
}

/// Copies into the page cache. The file systems at hand refuse to promise that this will not wait,
/// and a ring then moves each write to a thread of its own, which takes several times as long as
/// the copy. So it is tried, and left alone for a while after it did wait.
std::optional<Result<void>> FileDriver::try_inline_write(ByteRange range,
                                                         ConstBuffers from) noexcept {
  LoopState& state = mine();
  if (!writes_inline(range, state)) return std::nullopt;
  IoVectors vectors;
  vectors.fill(from);
  const uint64_t begin = real_time_ns();
  const ssize_t done =
      ::pwritev(descriptor_.get(), vectors.data(), static_cast<int>(vectors.count()),
                static_cast<off_t>(range.offset));
  const int os_error = errno;
  const uint64_t end = real_time_ns();
  state.write_inline_from_ns = end - begin > kSlowWriteNs ? end + kPauseAfterSlowNs : 0;
  state.changes.add_write();
  if (done >= 0 && static_cast<uint64_t>(done) == range.length) return ok();
  if (done >= 0 || again(-os_error)) return std::nullopt;  // once more, and all of it
  return fail(transfer_error(os_error, "write", range, setup_.path));
}

std::optional<Result<void>> FileDriver::write_now(ByteRange range, ConstBuffers from) noexcept {
  return try_inline_write(range, from);
}

Task<Result<void>> FileDriver::write(ByteRange range, ConstBuffers from, WriteFlags flags) {
  const bool durable = flags.fua && !setup_.flags.cache_no_flush;
  if (durable && lost_writes_.load() != 0) co_return co_await flush();
  if (!durable) {
    std::optional<Result<void>> written = try_inline_write(range, from);
    if (written) co_return *written;
  }
  IoVectors vectors;
  uint64_t done = 0;
  while (done < range.length) {
    vectors.fill(from.from(done));
    IoOperation operation =
        IoOperation::write(descriptor_.get(), vectors.data(), vectors.count(), range.offset + done);
    operation.flags = durable ? RWF_DSYNC : 0;
    int64_t result = co_await operation;
    if (again(result)) continue;
    if (result == 0) result = -ENOSPC;  // some devices say so at their end
    if (result < 0) {
      mine().changes.add_write();
      co_return fail(transfer_error(static_cast<int>(-result), "write", range, setup_.path));
    }
    // With direct access, what was written of a block is written again with the rest of it.
    done = done + static_cast<uint64_t>(result) == range.length
               ? range.length
               : align_down(done + static_cast<uint64_t>(result), alignment_.request);
  }
  mine().changes.add_write();
  co_return ok();
}

/// 0 or errno.
Task<int> FileDriver::allocate(int mode, ByteRange range) {
  int64_t result = 0;
  do {
    IoOperation operation =
        IoOperation::allocate(descriptor_.get(), mode, range.offset, range.length);
    result = co_await operation;
  } while (again(result));
  co_return static_cast<int>(-result);
}

namespace {

/// What file systems answer when they do not know an operation, or not for this file.
bool means_unsupported(int os_error) {
  return os_error == EOPNOTSUPP || os_error == ENOSYS || os_error == EINVAL || os_error == ENODEV ||
         os_error == ENOTTY;
}

Error unsupported(std::string_view what, const std::string& path) {
  return Error(ErrorCode::kUnsupported, fmt::format("\"{}\" does not support {}", path, what))
      .because("file-unsupported", {std::string(what), path});
}

}  // namespace

Task<Result<void>> FileDriver::write_zeroes(ByteRange range, ZeroFlags flags) {
  Result<void> done;
  if (flags.may_unmap) {
    done = co_await unmap(range);
    const bool go_on = !done && done.error().code() == ErrorCode::kUnsupported;
    if (go_on) done = co_await zero_in_place(range);
  } else {
    done = co_await zero_in_place(range);
  }
  mine().changes.add_removal();
  mine().changes.add_write();
  if (done && flags.fua) done = co_await flush();
  co_return done;
}

/// Gives the space of `range` back; it reads as zeroes then, and the file reaches to its end.
Task<Result<void>> FileDriver::unmap(ByteRange range) {
  if (!can_punch_.load(std::memory_order_relaxed)) {
    co_return fail(unsupported("holes", setup_.path));
  }
  const int os_error = co_await allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range);
  mine().changes.add_removal();
  if (means_unsupported(os_error)) {
    can_punch_.store(false, std::memory_order_relaxed);
    co_return fail(unsupported("holes", setup_.path));
  }
  if (os_error != 0) co_return fail(transfer_error(os_error, "unmap", range, setup_.path));
  if (!is_device()) co_return co_await grow_to(range.end());
  co_return ok();
}

/// Makes the file reach to `end` without ever making it shorter, as others may be growing it too.
Task<Result<void>> FileDriver::grow_to(uint64_t end) {
  Result<FileFacts> facts = facts_of(descriptor_, setup_.path);
  if (!facts) co_return fail(facts.error());
  if (facts->size >= end) co_return ok();
  const uint64_t unit = alignment_.request;
  const ByteRange last{align_up(end, unit) - unit, unit};
  const int os_error = co_await allocate(0, last);
  if (os_error == 0) co_return ok();
  if (!means_unsupported(os_error)) {
    co_return fail(transfer_error(os_error, "grow by", last, setup_.path));
  }
  co_return fail(unsupported("allocation", setup_.path));
}

Task<Result<void>> FileDriver::zero_in_place(ByteRange range) {
  if (can_zero_.load(std::memory_order_relaxed)) {
    const int os_error = co_await allocate(FALLOC_FL_ZERO_RANGE, range);
    if (os_error == 0) co_return ok();
    if (!means_unsupported(os_error)) {
      co_return fail(transfer_error(os_error, "zero", range, setup_.path));
    }
    can_zero_.store(false, std::memory_order_relaxed);
  }
  // A hole whose room is reserved again does the same, where the file system knows both.
  if (is_device()) co_return fail(unsupported("zeroing", setup_.path));
  Result<void> punched = co_await unmap(range);
  if (!punched) co_return punched;
  const int os_error = co_await allocate(0, range);
  if (os_error == 0 || means_unsupported(os_error)) co_return ok();
  co_return fail(transfer_error(os_error, "reserve", range, setup_.path));
}

Task<Result<void>> FileDriver::discard(ByteRange range) {
  if (is_device()) co_return co_await discard_device(range);
  if (!can_punch_.load(std::memory_order_relaxed)) {
    co_return fail(unsupported("holes", setup_.path));
  }
  const int os_error = co_await allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range);
  mine().changes.add_removal();
  if (os_error == 0) co_return ok();
  if (!means_unsupported(os_error)) {
    co_return fail(transfer_error(os_error, "discard", range, setup_.path));
  }
  can_punch_.store(false, std::memory_order_relaxed);
  co_return fail(unsupported("holes", setup_.path));
}

Task<Result<void>> FileDriver::reserve(ByteRange range) {
  if (is_device()) co_return fail(unsupported("reserving room", setup_.path));
  const int os_error = co_await allocate(0, range);
  mine().changes.add_write();
  if (os_error == 0) co_return ok();
  if (means_unsupported(os_error)) co_return fail(unsupported("reserving room", setup_.path));
  co_return fail(transfer_error(os_error, "reserve", range, setup_.path));
}

Task<Result<void>> FileDriver::discard_device(ByteRange range) {
  auto work = [fd = descriptor_.get(), range] {
    uint64_t arguments[2] = {range.offset, range.length};
    return ::ioctl(fd, BLKDISCARD, arguments) == 0 ? 0 : errno;
  };
  OnWorker discarded(std::move(work));
  const int os_error = co_await discarded;
  if (os_error == 0) co_return ok();
  if (means_unsupported(os_error)) co_return fail(unsupported("discard", setup_.path));
  co_return fail(transfer_error(os_error, "discard", range, setup_.path));
}

Task<Result<void>> FileDriver::flush() {
  if (setup_.flags.cache_no_flush) co_return ok();
  const uint64_t asked = flushes_asked_.fetch_add(1) + 1;
  Mutex::Guard guard = co_await flushing_.lock();
  if (const int os_error = lost_writes_.load(); os_error != 0) {
    // The kernel reports a failed write-back once and then forgets which pages it was.
    co_return fail(
        Error::from_errno(os_error, fmt::format("flush \"{}\": an earlier flush failed and what "
                                                "it should have written may be lost",
                                                setup_.path))
            .because("flush-failed-before", {setup_.path}));
  }
  // One flush serves all who asked before it began.
  if (flushes_done_.load() >= asked) co_return ok();
  const uint64_t served = flushes_asked_.load();
  Result<void> synced = co_await sync();
  if (synced) flushes_done_.store(served);
  co_return synced;
}

Task<Result<void>> FileDriver::sync() {
  int64_t result = 0;
  do {
    IoOperation operation = IoOperation::data_sync(descriptor_.get());
    result = co_await operation;
  } while (again(result));
  // Pipes to nowhere such as /dev/null cannot be flushed and need not.
  if (result == 0 || (result == -EINVAL && is_device())) co_return ok();
  lost_writes_.store(static_cast<int>(-result));
  co_return fail(
      Error::from_errno(static_cast<int>(-result), fmt::format("flush \"{}\"", setup_.path)));
}

Task<Result<void>> FileDriver::resize(uint64_t size, ResizeFlags flags) {
  if (is_device()) {
    const NodeInfo now = info();
    if (size <= now.size && flags.preallocation == Preallocation::kOff) co_return ok();
    co_return fail(Error(ErrorCode::kUnsupported,
                         fmt::format("\"{}\" has {} bytes and cannot be made to have {}",
                                     setup_.path, now.size, size))
                       .because("device-resize", {setup_.path}));
  }
  // What is written to reserve room need not be aligned.
  Opened buffered;
  if (setup_.flags.cache_direct && flags.preallocation == Preallocation::kFull) {
    buffered = open_again(descriptor_, setup_.path, O_RDWR);
    if (!buffered.descriptor) {
      co_return fail(Error::from_errno(buffered.os_error, fmt::format("open \"{}\"", setup_.path))
                         .because("file-open", {setup_.path}));
    }
  }
  const Descriptor& descriptor = buffered.descriptor ? buffered.descriptor : descriptor_;
  const Sizing wanted{size, flags.preallocation};
  auto work = [&descriptor, this, wanted] {
    return set_file_size(descriptor, setup_.path, wanted);
  };
  OnWorker resized(std::move(work));
  Result<void> done = co_await resized;
  mine().changes.add_removal();
  mine().changes.add_write();
  co_return done;
}

Task<Result<Extent>> FileDriver::status(ByteRange range) {
  LoopState& state = mine();
  const ExtentMemory::Seen seen = changes_seen();
  std::optional<FileExtent> found = state.extents.recall(range.offset, seen, exclusive_.load());
  if (!found) {
    found = find_extent(descriptor_.get(), range.offset);
    state.extents.remember(*found, seen);
  }
  Extent extent;
  extent.length = std::min(range.length, found->end - range.offset);
  extent.present = true;
  extent.data = found->data;
  extent.zero = !found->data;
  extent.offset = range.offset;
  co_return extent;
}

std::optional<uint64_t> FileDriver::allocated_size() const {
  const Result<FileFacts> facts = facts_of(descriptor_, setup_.path);
  if (!facts) return std::nullopt;
  return facts->allocated;
}

OptionDict FileDriver::naming_options() const {
  OptionDict options;
  options.set("filename", setup_.path);
  return options;
}

Result<void> FileDriver::apply_permissions(Permissions used, Permissions shared) {
  if (Result<void> locked = locks_.change(used, shared); !locked) return locked;
  exclusive_.store(!shared.has(Permission::kWrite));
  return ok();
}

Task<Result<void>> FileDriver::close() {
  locks_ = ByteLocks();
  locked_ = Descriptor();
  co_return descriptor_.close();
}

}  // namespace ashlar::file
