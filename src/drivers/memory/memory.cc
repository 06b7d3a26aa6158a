// Memory driver: a sparse device in memory that is gone when it is closed. For tests and programs
// that embed the library.
#include "drivers/memory/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <mutex>
#include <new>
#include <shared_mutex>

#include "ashlar/bytes.h"
#include "drivers/plain_reopen.h"

namespace ashlar {
namespace {

constexpr uint64_t kPageSize = 4096;

struct MemoryOptions {
  uint64_t size = 0;
  uint64_t limit = 1_GiB;
  uint64_t block_size = 1;

  static constexpr auto table() {
    return std::array{
        option("size", &MemoryOptions::size, "size at first; writes past the end make it larger",
               "0"),
        option("limit", &MemoryOptions::limit, "most memory that is used for data", "1G"),
        option("block-size", &MemoryOptions::block_size,
               "what requests must be aligned to, from 1 to 4096", "1"),
    };
  }
};

class MemoryDriver final : public Driver {
 public:
  explicit MemoryDriver(const MemoryOptions& options) : options_(options), size_(options.size) {}

  NodeInfo info() const override {
    NodeInfo info;
    info.size = size();
    info.request_alignment = static_cast<uint32_t>(options_.block_size);
    info.fua = NodeInfo::Fua::kNative;
    info.zeroes = NodeInfo::Zeroes::kNative;
    info.discards = NodeInfo::Discards::kNative;
    info.end = NodeInfo::End::kGrows;
    info.fresh = NodeInfo::Fresh::kZeroes;
    return info;
  }

  std::optional<Result<void>> read_now(ByteRange range, MutableBuffers into) noexcept override {
    return load(range, into);
  }
  std::optional<Result<void>> write_now(ByteRange range, ConstBuffers from) noexcept override {
    return store(range, from);
  }
  Task<Result<void>> read(ByteRange range, MutableBuffers into) override {
    co_return load(range, into);
  }
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags) override {
    co_return store(range, from);
  }
  Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags) override {
    const std::unique_lock lock(mutex_);
    clear(range);
    size_ = std::max(size_, range.end());
    co_return ok();
  }
  Task<Result<void>> discard(ByteRange range) override {
    const std::unique_lock lock(mutex_);
    clear(range);
    co_return ok();
  }
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override {
    if (flags.preallocation != Preallocation::kOff) {
      co_return fail(Error(ErrorCode::kUnsupported, "memory is not preallocated")
                         .because("memory-preallocation"));
    }
    const std::unique_lock lock(mutex_);
    if (size < size_) clear({size, size_ - size});
    size_ = size;
    co_return ok();
  }
  Task<Result<Extent>> status(ByteRange range) override {
    const std::shared_lock lock(mutex_);
    Extent extent;
    extent.present = true;
    extent.offset = range.offset;
    auto page = pages_.lower_bound(range.offset / kPageSize);
    uint64_t end = range.end();
    if (page == pages_.end() || page->first * kPageSize > range.offset) {
      extent.zero = true;
      if (page != pages_.end()) end = std::min(end, page->first * kPageSize);
    } else {
      extent.data = true;
      uint64_t number = page->first;
      while (page != pages_.end() && page->first == number && number * kPageSize < end) {
        ++number;
        ++page;
      }
      end = std::min(end, number * kPageSize);
    }
    extent.length = end - range.offset;
    co_return extent;
  }
  std::optional<uint64_t> allocated_size() const override {
    const std::shared_lock lock(mutex_);
    return pages_.size() * kPageSize;
  }
  OptionDict naming_options() const override {
    OptionDict options;
    options.set("size", static_cast<int64_t>(size()));
    return options;
  }

  Task<Result<std::unique_ptr<PreparedReopen>>> prepare_reopen(OptionDict&,
                                                               const OpenFlags&) override {
    return plain_reopen();
  }

 private:
  struct alignas(64) Page {
    std::array<std::byte, kPageSize> bytes{};
  };

  uint64_t size() const {
    const std::shared_lock lock(mutex_);
    return size_;
  }

  /// Calls visit(page number, first byte in the page, length, bytes of the range before).
  template <typename Visit>
  static void for_each_page(ByteRange range, Visit&& visit) {
    uint64_t done = 0;
    while (done < range.length) {
      const uint64_t at = range.offset + done;
      const uint64_t inside = at % kPageSize;
      const uint64_t length = std::min(kPageSize - inside, range.length - done);
      if (!visit(at / kPageSize, inside, length, done)) return;
      done += length;
    }
  }

  Result<void> load(ByteRange range, MutableBuffers into) const noexcept {
    const std::shared_lock lock(mutex_);
    for_each_page(range, [&](uint64_t number, uint64_t inside, uint64_t length, uint64_t done) {
      const auto page = pages_.find(number);
      const MutableBuffers part = into.slice(done, length);
      if (page == pages_.end()) {
        part.fill(std::byte{0});
      } else {
        part.copy_from(std::span(page->second->bytes).subspan(inside, length));
      }
      return true;
    });
    return ok();
  }

  Result<void> store(ByteRange range, ConstBuffers from) noexcept {
    const std::unique_lock lock(mutex_);
    bool stored = true;
    for_each_page(range, [&](uint64_t number, uint64_t inside, uint64_t length, uint64_t done) {
      Page* page = page_for_writing(number);
      stored = page != nullptr;
      if (stored) from.slice(done, length).copy_to(std::span(page->bytes).subspan(inside, length));
      return stored;
    });
    if (!stored) {
      return fail(Error(ErrorCode::kNoSpace,
                        fmt::format("memory: the limit of {} bytes is reached", options_.limit))
                      .because("memory-limit"));
    }
    size_ = std::max(size_, range.end());
    return ok();
  }

  Page* page_for_writing(uint64_t number) {
    const auto found = pages_.find(number);
    if (found != pages_.end()) return found->second.get();
    if (pages_.size() >= options_.limit / kPageSize) return nullptr;
    std::unique_ptr<Page> page(new (std::nothrow) Page());
    if (!page) return nullptr;
    return pages_.emplace(number, std::move(page)).first->second.get();
  }

  /// Whole pages are given back.
  void clear(ByteRange range) {
    const uint64_t first = align_up(range.offset, kPageSize) / kPageSize;
    const uint64_t end = range.end() / kPageSize;
    if (first < end) pages_.erase(pages_.lower_bound(first), pages_.lower_bound(end));
    const auto wipe = [this](ByteRange part) {
      const auto page = pages_.find(part.offset / kPageSize);
      if (page == pages_.end()) return;
      std::ranges::fill(
          std::span(page->second->bytes).subspan(part.offset % kPageSize, part.length),
          std::byte{0});
    };
    const uint64_t head_end = std::min(range.end(), first * kPageSize);
    if (range.offset < head_end) wipe({range.offset, head_end - range.offset});
    const uint64_t tail = std::max(head_end, end * kPageSize);
    if (tail < range.end()) wipe({tail, range.end() - tail});
  }

  const MemoryOptions options_;
  mutable std::shared_mutex mutex_;
  uint64_t size_;
  std::map<uint64_t, std::unique_ptr<Page>> pages_;
};

Task<Result<std::unique_ptr<Driver>>> open_memory(OpenContext& context) {
  const Result<MemoryOptions> options = take_options<MemoryOptions>(context.options());
  if (!options) co_return fail(options.error());
  if (options->size > kMaxDeviceSize - kPageSize) {
    co_return fail(
        Error(ErrorCode::kTooLarge,
              fmt::format("memory: a device of {} bytes is above the limit of 2^63", options->size))
            .because("device-too-large"));
  }
  if (!std::has_single_bit(options->block_size) || options->block_size > kPageSize) {
    co_return fail(Error(ErrorCode::kInvalidArgument,
                         fmt::format("memory: option \"block-size\" wants a power of two up to {}, "
                                     "not {}",
                                     kPageSize, options->block_size))
                       .because("memory-block-size"));
  }
  std::unique_ptr<Driver> driver = std::make_unique<MemoryDriver>(*options);
  co_return std::move(driver);
}

}  // namespace

constinit const DriverSpec memory_driver{
    .name = "memory",
    .summary = "a sparse device in memory, gone when it is closed",
    .kind = NodeKind::kStorage,
    .open = open_memory,
    .open_options = describe_options<MemoryOptions>,
};

}  // namespace ashlar
