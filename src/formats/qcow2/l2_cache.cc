// Resident L1 and L2 tables.
#include "formats/qcow2/l2_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/endian.h"

namespace ashlar::qcow2 {

namespace {

constexpr size_t kSliceBytes = 4096;

}  // namespace

ExtendedL2Entry L2Slice::entry(size_t index) const noexcept {
  if (stride_ == 1) return {{words_[index].load(std::memory_order_acquire)}, {}};
  while (true) {
    const uint32_t before = sequence_.load(std::memory_order_acquire);
    const uint64_t descriptor = words_[index * 2].load(std::memory_order_acquire);
    const uint64_t bitmap = words_[index * 2 + 1].load(std::memory_order_acquire);
    if ((before & 1) == 0 && sequence_.load(std::memory_order_acquire) == before) {
      return {{descriptor}, {bitmap}};
    }
  }
}

size_t L2Slice::run_length(size_t index, uint64_t first, uint64_t step,
                           size_t most) const noexcept {
  if (stride_ != 1) return 0;
  size_t count = 0;
  for (uint64_t expected = first; count < most && index + count < word_count_; ++count) {
    if (words_[index + count].load(std::memory_order_acquire) != expected) break;
    if (((expected ^ first) & ~kOffsetMask) != 0) break;
    expected += step;
  }
  return count;
}

void L2Slice::store(size_t index, ExtendedL2Entry entry) noexcept {
  if (stride_ == 1) {
    words_[index].store(entry.descriptor.raw, std::memory_order_release);
    return;
  }
  sequence_.fetch_add(1);
  words_[index * 2].store(entry.descriptor.raw);
  words_[index * 2 + 1].store(entry.bitmap.raw);
  sequence_.fetch_add(1);
}

/// Suspends until the slice that somebody else is reading has arrived, or its reading failed.
class L2Cache::LoadAwaiter : Waiter {
 public:
  LoadAwaiter(L2Cache& cache, uint64_t key) : cache_(cache), key_(key) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    prepare(self);
    std::lock_guard guard(cache_.lock_);
    auto found = cache_.loading_.find(key_);
    if (found == cache_.loading_.end()) return false;
    found->second->waiting.push(*this);
    return true;
  }
  void await_resume() const noexcept {}

 private:
  L2Cache& cache_;
  uint64_t key_;
};

L2Cache::L2Cache(const Setup& setup)
    : file_(setup.file),
      epochs_(setup.epochs),
      metadata_(setup.metadata),
      cluster_bits_(setup.header.cluster_bits),
      rules_{setup.header.has_extended_l2(), setup.header.has_data_file()},
      l1_offset_(setup.header.l1_table_offset),
      l2_bits_(static_cast<unsigned>(std::countr_zero(setup.header.l2_entries()))),
      stride_(setup.header.l2_entry_bytes() / 8),
      slice_words_(std::min<uint64_t>(kSliceBytes, setup.header.cluster_size()) / 8),
      slices_per_table_(static_cast<uint32_t>(setup.header.cluster_size() / slice_bytes())),
      max_slices_(std::max<uint64_t>(setup.max_bytes / slice_bytes(), 8)),
      l1_size_(setup.header.l1_size),
      l1_(new std::atomic<uint64_t>[l1_size_]()),
      tables_(new std::atomic<Table*>[l1_size_]()) {}

L2Cache::~L2Cache() = default;

Task<Result<void>> L2Cache::load_l1() {
  constexpr uint64_t kPiece = 64_KiB;
  std::vector<std::byte> bytes(std::min(l1_size_ * 8, kPiece));
  for (uint64_t done = 0; done < l1_size_ * 8; done += kPiece) {
    const ByteRange piece{l1_offset_ + done, std::min(kPiece, l1_size_ * 8 - done)};
    const MutableBuffers into(bytes.data(), piece.length);
    Result<void> read = co_await file_.read(piece, into);
    if (!read) co_return fail(read.error().within("read L1 table"));
    for (uint64_t i = 0; i < piece.length / 8; ++i) {
      const auto raw = load_be<uint64_t>(bytes.data() + i * 8);
      // Pages of the table that stay zero are never touched.
      if (raw != 0) l1_[done / 8 + i].store(raw, std::memory_order_relaxed);
    }
  }
  co_return ok();
}

L2Slice* L2Cache::find(uint64_t cluster) const noexcept {
  const Table* table = tables_[l1_index(cluster)].load(std::memory_order_acquire);
  if (table == nullptr) return nullptr;
  L2Slice* slice = table->slices[slice_index(cluster)].load(std::memory_order_acquire);
  if (slice != nullptr && !slice->used_.load(std::memory_order_relaxed)) {
    slice->used_.store(true, std::memory_order_relaxed);
  }
  return slice;
}

Task<Result<std::unique_ptr<L2Slice>>> L2Cache::read_slice(uint64_t l1_index,
                                                           uint32_t slice_index) {
  const L1Entry entry = l1(l1_index);
  if (entry.has_reserved_bits() || !is_aligned(entry.offset(), uint64_t{1} << cluster_bits_)) {
    co_return fail(
        Error(ErrorCode::kCorrupt,
              fmt::format("L1 entry {} is {:#x}: wants the offset of a table aligned to {:#x}",
                          l1_index, entry.raw, uint64_t{1} << cluster_bits_))
            .because("qcow2-l2-offset",
                     {fmt::format("{:#x}", entry.offset()), fmt::format("{:#x}", l1_index)}));
  }
  auto slice = std::make_unique<L2Slice>(slice_words_, stride_);
  slice->l1_index_ = l1_index;
  slice->slice_index_ = slice_index;
  slice->host_offset_ = entry.offset() + uint64_t{slice_index} * slice_bytes();
  std::vector<std::byte> bytes(slice_bytes());
  const ByteRange where{slice->host_offset_, slice_bytes()};
  const MutableBuffers into(bytes.data(), bytes.size());
  Result<void> read = co_await file_.read(where, into);
  if (!read) co_return fail(read.error().within("read L2 table"));
  for (size_t i = 0; i < slice_words_; ++i) {
    slice->words_[i].store(load_be<uint64_t>(bytes.data() + i * 8), std::memory_order_relaxed);
  }
  inspect(*slice);
  co_return slice;
}

void L2Cache::inspect(L2Slice& slice) const noexcept {
  if (metadata_ == nullptr || rules_.has_data_file) return;
  for (size_t i = 0; i < slice.entries(); ++i) {
    const L2Entry entry = slice.entry(i).descriptor;
    if (entry.compressed() || entry.offset() == 0) continue;
    if (metadata_->find({entry.offset(), uint64_t{1} << cluster_bits_}) != nullptr) {
      slice.suspicious_ = true;
      return;
    }
  }
}

Task<Result<L2Slice*>> L2Cache::load(uint64_t cluster) {
  const uint64_t index = l1_index(cluster);
  const uint32_t part = slice_index(cluster);
  const uint64_t key = index * slices_per_table_ + part;
  while (true) {
    if (L2Slice* slice = find(cluster)) co_return slice;
    Loading mine;
    bool leading = false;
    {
      std::lock_guard guard(lock_);
      leading = loading_.emplace(key, &mine).second;
    }
    if (!leading) {
      LoadAwaiter other(*this, key);
      co_await other;
      continue;
    }
    const L1Entry before = l1(index);
    Result<std::unique_ptr<L2Slice>> read = co_await read_slice(index, part);
    L2Slice* linked = nullptr;
    Waiter* waiter = nullptr;
    {
      std::lock_guard guard(lock_);
      loading_.erase(key);
      waiter = mine.waiting.take_all();
      // A table that moved meanwhile brought its slices along.
      if (read && find(cluster) == nullptr && l1(index) == before) linked = link(std::move(*read));
    }
    while (waiter != nullptr) {
      Waiter* next = waiter->next_waiter;
      waiter->wake();
      waiter = next;
    }
    if (!read) co_return fail(read.error());
    if (linked != nullptr) co_return linked;
  }
}

L2Slice* L2Cache::link(std::unique_ptr<L2Slice> slice) {
  if (resident_.size() >= max_slices_) evict();
  release_retired();
  Table* table = tables_[slice->l1_index_].load(std::memory_order_relaxed);
  if (table == nullptr) {
    table_storage_.push_back(std::make_unique<Table>(slices_per_table_));
    table = table_storage_.back().get();
    tables_[slice->l1_index_].store(table, std::memory_order_release);
  }
  L2Slice* raw = slice.get();
  raw->linked_ = true;
  table->slices[raw->slice_index_].store(raw, std::memory_order_release);
  resident_.push_back(std::move(slice));
  return raw;
}

void L2Cache::unlink(L2Slice& slice) {
  Table* table = tables_[slice.l1_index_].load(std::memory_order_relaxed);
  table->slices[slice.slice_index_].store(nullptr, std::memory_order_release);
  slice.linked_ = false;
}

void L2Cache::evict() {
  // Second chance: at most two rounds, dirty slices stay (write-back makes them clean in time).
  for (size_t steps = 0; steps < resident_.size() * 2; ++steps) {
    hand_ = hand_ + 1 < resident_.size() ? hand_ + 1 : 0;
    L2Slice& slice = *resident_[hand_];
    if (slice.dirty_ || slice.writing_ != 0) continue;
    if (slice.used_.exchange(false, std::memory_order_relaxed)) continue;
    unlink(slice);
    retired_.push_back({std::move(resident_[hand_]), epochs_.phase()});
    std::swap(resident_[hand_], resident_.back());
    resident_.pop_back();
    return;
  }
}

void L2Cache::release_retired() {
  if (retired_.empty()) return;
  epochs_.try_advance();
  const uint64_t phase = epochs_.phase();
  std::erase_if(retired_, [phase](const Retired& old) { return old.phase + 2 <= phase; });
}

void L2Cache::mark_dirty(L2Slice& slice) {
  if (slice.dirty_) return;
  slice.dirty_ = true;
  dirty_.push_back(&slice);
  dirty_count_.fetch_add(1, std::memory_order_relaxed);
}

bool L2Cache::update(L2Slice& slice, uint64_t cluster, std::span<const ExtendedL2Entry> entries) {
  std::lock_guard guard(lock_);
  if (!slice.linked_) return false;
  const size_t first = index_in_slice(cluster);
  for (size_t i = 0; i < entries.size(); ++i) slice.store(first + i, entries[i]);
  mark_dirty(slice);
  return true;
}

void L2Cache::add_table(uint64_t index, uint64_t host_offset) {
  std::lock_guard guard(lock_);
  // All of the table is written, so that nothing stale in its cluster becomes an entry.
  for (uint32_t part = 0; part < slices_per_table_; ++part) {
    auto slice = std::make_unique<L2Slice>(slice_words_, stride_);
    slice->l1_index_ = index;
    slice->slice_index_ = part;
    slice->host_offset_ = host_offset + uint64_t{part} * slice_bytes();
    mark_dirty(*link(std::move(slice)));
  }
  l1_[index].store(L1Entry::to(host_offset, kCopiedFlag).raw, std::memory_order_release);
  dirty_l1_.push_back(index);
}

Task<Result<void>> L2Cache::move_table(uint64_t index, uint64_t host_offset) {
  const uint64_t first = index << l2_bits_;
  // Loading may evict what was loaded before: dirty slices stay, so mark each at once.
  for (uint32_t part = 0; part < slices_per_table_; ++part) {
    while (true) {
      Result<L2Slice*> slice = co_await load(first + part * slice_entries());
      if (!slice) co_return fail(slice.error());
      std::lock_guard guard(lock_);
      if (!(*slice)->linked_) continue;
      mark_dirty(**slice);
      break;
    }
  }
  std::lock_guard guard(lock_);
  Table* table = tables_[index].load(std::memory_order_relaxed);
  for (uint32_t part = 0; part < slices_per_table_; ++part) {
    L2Slice* slice = table->slices[part].load(std::memory_order_relaxed);
    slice->host_offset_ = host_offset + uint64_t{part} * slice_bytes();
    mark_dirty(*slice);
  }
  l1_[index].store(L1Entry::to(host_offset, kCopiedFlag).raw, std::memory_order_release);
  dirty_l1_.push_back(index);
  co_return ok();
}

void L2Cache::drop_table(uint64_t index) {
  std::lock_guard guard(lock_);
  l1_[index].store(0, std::memory_order_release);
  dirty_l1_.push_back(index);
  Table* table = tables_[index].load(std::memory_order_relaxed);
  if (table == nullptr) return;
  for (uint32_t part = 0; part < slices_per_table_; ++part) {
    L2Slice* slice = table->slices[part].load(std::memory_order_relaxed);
    if (slice == nullptr) continue;
    unlink(*slice);
    if (slice->dirty_) {
      slice->dirty_ = false;
      std::erase(dirty_, slice);
      dirty_count_.fetch_sub(1, std::memory_order_relaxed);
    }
    auto owner = std::ranges::find(resident_, slice, &std::unique_ptr<L2Slice>::get);
    retired_.push_back({std::move(*owner), epochs_.phase()});
    resident_.erase(owner);
  }
}

void L2Cache::resize_l1(uint64_t entries) {
  std::lock_guard guard(lock_);
  std::unique_ptr<std::atomic<uint64_t>[]> l1(new std::atomic<uint64_t>[entries]());
  std::unique_ptr<std::atomic<Table*>[]> tables(new std::atomic<Table*>[entries]());
  for (uint64_t i = 0; i < std::min(entries, l1_size_); ++i) {
    if (uint64_t raw = l1_[i].load(std::memory_order_relaxed)) l1[i].store(raw);
    if (Table* table = tables_[i].load(std::memory_order_relaxed)) tables[i].store(table);
  }
  l1_ = std::move(l1);
  tables_ = std::move(tables);
  l1_size_ = entries;
}

std::vector<L2Cache::DirtySlice> L2Cache::take_dirty_slices() {
  std::lock_guard guard(lock_);
  std::vector<DirtySlice> taken;
  taken.reserve(dirty_.size());
  for (L2Slice* slice : dirty_) {
    DirtySlice copy{slice, slice->host_offset_, std::vector<std::byte>(slice_bytes())};
    for (size_t i = 0; i < slice_words_; ++i) {
      store_be(copy.bytes.data() + i * 8, slice->words_[i].load(std::memory_order_relaxed));
    }
    slice->dirty_ = false;
    ++slice->writing_;
    taken.push_back(std::move(copy));
  }
  dirty_.clear();
  dirty_count_.store(0, std::memory_order_relaxed);
  std::ranges::sort(taken, {}, &DirtySlice::host_offset);
  return taken;
}

void L2Cache::written(std::span<const DirtySlice> slices, Result<void> result) {
  std::lock_guard guard(lock_);
  for (const DirtySlice& copy : slices) {
    --copy.slice->writing_;
    if (!result && copy.slice->linked_) mark_dirty(*copy.slice);
  }
  // What dirty slices held beyond the limit can go now.
  while (resident_.size() > max_slices_) {
    const size_t before = resident_.size();
    evict();
    if (resident_.size() == before) break;
  }
  release_retired();
}

std::vector<L2Cache::DirtyL1> L2Cache::take_dirty_l1() {
  std::lock_guard guard(lock_);
  std::ranges::sort(dirty_l1_);
  const auto repeated = std::ranges::unique(dirty_l1_);
  dirty_l1_.erase(repeated.begin(), repeated.end());
  std::vector<DirtyL1> taken;
  taken.reserve(dirty_l1_.size());
  for (uint64_t index : dirty_l1_) taken.push_back({index, l1_[index].load()});
  dirty_l1_.clear();
  return taken;
}

void L2Cache::put_back_l1(std::span<const DirtyL1> entries) {
  std::lock_guard guard(lock_);
  for (const DirtyL1& entry : entries) dirty_l1_.push_back(entry.index);
}

}  // namespace ashlar::qcow2
