// Finding room for guest data and making it visible.
#include <fmt/format.h>

#include <algorithm>

#include "formats/qcow2/image.h"

namespace ashlar::qcow2 {

namespace {

/// Allocation::token: what commit() and abandon() have to do with the clusters.
enum Room : uint64_t { kNewClusters = 0, kOldRoom = 1, kDataFile = 2 };

}  // namespace

/// Before any change: may there be one, and does everybody who must know that there was one know?
Result<void> Image::check_writable() const {
  if (corrupt_.load(std::memory_order_relaxed)) {
    return fail(Error(ErrorCode::kIo, "the image is marked corrupt and takes no more writes")
                    .because("qcow2-corrupt"));
  }
  if (flags_.read_only) return fail(ErrorCode::kReadOnly, "the image is opened read-only");
  return ok();
}

Task<Result<void>> Image::begin_writing() {
  if (Result<void> good = check_writable(); !good) co_return good;
  if (started_writing_.load(std::memory_order_acquire)) co_return ok();
  Mutex::Guard guard = co_await metadata_.lock();
  if (started_writing_.load(std::memory_order_relaxed)) co_return ok();
  Result<void> marked = co_await mark_bitmaps_in_use(Marked::kEnabled);
  if (marked) started_writing_.store(true, std::memory_order_release);
  co_return marked;
}

/// Makes sure that `cluster` has an L2 table that only the active state uses.
Task<Result<void>> Image::ensure_table(uint64_t cluster) {
  const uint64_t index = l2_->l1_index(cluster);
  const L1Entry entry = l2_->l1(index);
  if (entry.offset() != 0 && entry.copied()) co_return ok();
  if (entry.has_reserved_bits()) {
    co_return fail(
        Error(ErrorCode::kCorrupt,
              fmt::format("L1 entry {} is {:#x}: reserved bits are set", index, entry.raw))
            .because("qcow2-l2-offset"));
  }
  Result<ClusterRun> run = co_await refcounts_->allocate(1);
  if (!run) co_return fail(run.error());
  const uint64_t host = run->first * cluster_size();
  if (entry.offset() == 0) {
    l2_->add_table(index, host);
  } else {
    Result<void> moved = co_await l2_->move_table(index, host);
    if (!moved) {
      Result<void> undone = co_await refcounts_->decrease(*run);
      co_return undone ? moved : undone;
    }
    // A snapshot goes on using the old one.
    free_later({cluster_of(entry.offset()), 1}, false);
  }
  ranges_.add(cluster_range(host), "active L2 table");
  co_return ok();
}

Task<Result<ExtendedL2Entry>> Image::read_entry(uint64_t cluster) {
  Result<L2Slice*> slice = co_await l2_->load(cluster);
  if (!slice) co_return fail(slice.error());
  co_return (*slice)->entry(l2_->index_in_slice(cluster));
}

/// Stores entries of one slice.
Task<Result<void>> Image::store_entries(uint64_t cluster,
                                        std::span<const ExtendedL2Entry> entries) {
  mapping_changes_.fetch_add(1);  // first: who sees the new entries must also see this
  while (true) {
    Result<L2Slice*> slice = co_await l2_->load(cluster);
    if (!slice) co_return fail(slice.error());
    if (l2_->update(**slice, cluster, entries)) co_return ok();
  }
}

void Image::free_later(ClusterRun run, bool punch) {
  pending_.push_back({run, punch, 0});
  pending_count_.fetch_add(run.count, std::memory_order_relaxed);
}

void Image::free_entry(const ExtendedL2Entry& old) {
  const EntryRules rules = this->rules();
  if (data_file_ != nullptr) return;
  if (old.descriptor.compressed()) {
    const CompressedExtent extent =
        CompressedLayout(header_.cluster_bits).decode(old.descriptor.raw);
    const uint64_t first = cluster_of(extent.offset);
    const uint64_t last = cluster_of(extent.offset + extent.length - 1);
    // One by one: each may have other users than the next.
    for (uint64_t cluster = first; cluster <= last; ++cluster) free_later({cluster, 1}, false);
    return;
  }
  const ClusterKind kind = old.descriptor.kind(rules);
  if (kind != ClusterKind::kNormal && kind != ClusterKind::kZeroAllocated) return;
  free_later({cluster_of(old.descriptor.offset()), 1}, options_.pass_discard_other);
}

Task<Result<Allocation>> Image::allocate(ByteRange guest) {
  if (Result<void> allowed = co_await begin_writing(); !allowed) co_return fail(allowed.error());
  if (Result<void> limited = co_await limit_dirty(); !limited) co_return fail(limited.error());
  EpochDomain::Ticket inside = host_.requests().enter();
  Mutex::Guard guard = co_await metadata_.lock();
  const uint64_t cluster = cluster_of(guest.offset);
  if (Result<void> ready = co_await ensure_table(cluster); !ready) co_return fail(ready.error());
  Result<ExtendedL2Entry> entry = co_await read_entry(cluster);
  if (!entry) co_return fail(entry.error());
  if (!map_entry(*entry, guest.offset, false)) co_return fail(corrupt_entry(guest.offset, *entry));

  if (has_own_room(*entry)) co_return co_await use_room(guest, *entry);
  Result<uint64_t> count = co_await count_to_allocate(guest);
  if (!count) co_return fail(count.error());
  const uint64_t unit = copied_whole(*entry) ? cluster_size() : header_.subcluster_size();
  if (data_file_ != nullptr) co_return allocation_for(guest, {cluster, *count}, unit, kDataFile);
  co_return co_await allocate_new(guest, *count, unit);
}

/// Whether new data can go where the cluster is: it has room that nobody shares.
bool Image::has_own_room(const ExtendedL2Entry& entry) const {
  const ClusterKind kind = entry.descriptor.kind(rules());
  const bool has_room = kind == ClusterKind::kNormal || kind == ClusterKind::kZeroAllocated;
  return has_room && entry.descriptor.copied();
}

/// Whether a new cluster has to take over contents that the old entry's subclusters cannot keep.
bool Image::copied_whole(const ExtendedL2Entry& entry) const {
  return entry.descriptor.compressed() || entry.descriptor.offset() != 0;
}

/// Clusters from the start of `guest` on, inside one slice, that need new room like the first.
Task<Result<uint64_t>> Image::count_to_allocate(ByteRange guest) {
  const uint64_t first = cluster_of(guest.offset);
  const uint64_t last = cluster_of(guest.end() - 1);
  Result<L2Slice*> slice = co_await l2_->load(first);
  if (!slice) co_return fail(slice.error());
  const size_t index = l2_->index_in_slice(first);
  const bool whole = copied_whole((*slice)->entry(index));
  const uint64_t limit = std::min<uint64_t>(last - first + 1, (*slice)->entries() - index);
  uint64_t count = 1;
  while (count < limit) {
    const ExtendedL2Entry next = (*slice)->entry(index + count);
    if (has_own_room(next) || copied_whole(next) != whole) break;
    ++count;
  }
  co_return count;
}

Task<Result<Allocation>> Image::allocate_new(ByteRange guest, uint64_t clusters, uint64_t unit) {
  Result<ClusterRun> run = co_await refcounts_->allocate(clusters);
  if (!run) {
    if (run.error().code() == ErrorCode::kCorrupt)
      co_return fail(co_await mark_corrupt(run.error()));
    co_return fail(run.error());
  }
  Allocation room = allocation_for(guest, *run, unit, kNewClusters);
  // Beyond the end of the file there is nothing stale: the rest of the clusters reads as zeroes.
  room.reads_zero =
      run->first * cluster_size() >= file_.size() && file_.info().end == NodeInfo::End::kGrows;
  const bool whole = room.guest.offset == guest.offset && room.guest.end() <= guest.end();
  if (room.reads_zero && !whole) note_partly_written({room.offset, room.guest.length});
  co_return room;
}

/// The write-back has the file system give room for the rest, too: a later write into it must not
/// find the disk full. What does not fit in the list gets its room when it is written.
void Image::note_partly_written(ByteRange room) {
  constexpr size_t kMost = 1024;
  if (!partly_written_.empty() && partly_written_.back().end() == room.offset) {
    partly_written_.back().length += room.length;
  } else if (partly_written_.size() < kMost) {
    partly_written_.push_back(room);
  }
}

/// The allocation that puts the start of `guest` into `run`: whole units, nothing more.
Allocation Image::allocation_for(ByteRange guest, ClusterRun run, uint64_t unit,
                                 uint64_t token) const {
  const uint64_t first_guest = align_down(guest.offset, cluster_size());
  const uint64_t begin = align_down(guest.offset, unit);
  const uint64_t end =
      std::min(align_up(guest.end(), unit), first_guest + run.count * cluster_size());
  Allocation room;
  room.guest = {begin, end - begin};
  room.child = &data_child();
  room.offset = run.first * cluster_size() + (begin - first_guest);
  room.token = token;
  return room;
}

/// Room that is reserved already: a cluster that reads as zeroes, one without this subcluster, or
/// one that could not be written in place when the layer looked (see map_entry()).
Task<Result<Allocation>> Image::use_room(ByteRange guest, ExtendedL2Entry entry) {
  const uint64_t host = entry.descriptor.offset();
  if (data_file_ == nullptr) {
    if (const char* what = ranges_.find(cluster_range(host))) {
      Error overlap(ErrorCode::kCorrupt,
                    fmt::format("guest offset {:#x} is mapped to {:#x}, which holds the {}",
                                guest.offset, host, what));
      overlap = overlap.because("qcow2-overlap", {what, fmt::format("{}", host)});
      co_return fail(co_await mark_corrupt(overlap));
    }
  }
  const std::optional<Mapping> known = map_entry(entry, guest.offset, false);
  if (!known || !std::holds_alternative<InFile>(known->where)) {
    co_return allocation_for(guest, {cluster_of(host), 1}, header_.subcluster_size(), kOldRoom);
  }
  // Others may be writing in place next to it by now: not a byte more than what is new.
  Allocation exact;
  exact.guest = guest.first(known->length);
  exact.child = &data_child();
  exact.offset = host + (guest.offset & (cluster_size() - 1));
  exact.token = kOldRoom;
  co_return exact;
}

ExtendedL2Entry Image::committed_entry(const ExtendedL2Entry& old, const Allocation& written,
                                       uint64_t cluster) const {
  const uint64_t guest = cluster << header_.cluster_bits;
  const uint64_t base = align_down(written.guest.offset, cluster_size());
  const uint64_t host = align_down(written.offset, cluster_size()) + (guest - base);
  ExtendedL2Entry entry{L2Entry::normal(host, kCopiedFlag), {}};
  if (!header_.has_extended_l2()) return entry;
  const uint64_t unit = header_.subcluster_size();
  const uint64_t begin = std::max(written.guest.offset, guest) - guest;
  const uint64_t end = std::min(written.guest.end(), guest + cluster_size()) - guest;
  const auto first = static_cast<unsigned>(begin / unit);
  const auto count = static_cast<unsigned>((end - begin) / unit);
  const uint32_t mask = static_cast<uint32_t>(((uint64_t{1} << count) - 1) << first);
  // What a compressed or shared cluster held was copied whole: see copied_whole().
  const SubclusterBitmap before = old.descriptor.compressed() ? SubclusterBitmap{} : old.bitmap;
  entry.bitmap = SubclusterBitmap::of(before.allocated() | mask, before.zero() & ~mask);
  return entry;
}

Task<Result<void>> Image::commit(Allocation written) {
  EpochDomain::Ticket inside = host_.requests().enter();
  Mutex::Guard guard = co_await metadata_.lock();
  const uint64_t first = cluster_of(written.guest.offset);
  const uint64_t last = cluster_of(written.guest.end() - 1);
  std::vector<ExtendedL2Entry> entries;
  std::vector<ExtendedL2Entry> replaced;
  entries.reserve(last - first + 1);
  for (uint64_t cluster = first; cluster <= last; ++cluster) {
    Result<ExtendedL2Entry> old = co_await read_entry(cluster);
    if (!old) co_return fail(old.error());
    if (written.token == kNewClusters) replaced.push_back(*old);
    entries.push_back(committed_entry(*old, written, cluster));
  }
  Result<void> stored = co_await store_entries(first, entries);
  if (!stored) co_return stored;
  for (const ExtendedL2Entry& old : replaced) free_entry(old);
  co_return ok();
}

Task<void> Image::abandon(Allocation unused) {
  if (unused.token != kNewClusters) co_return;
  EpochDomain::Ticket inside = host_.requests().enter();
  Mutex::Guard guard = co_await metadata_.lock();
  const uint64_t base = align_down(unused.offset, cluster_size());
  const uint64_t end = align_up(unused.offset + unused.guest.length, cluster_size());
  // A failure here leaves a leak, and the write itself fails anyway.
  static_cast<void>(
      co_await refcounts_->decrease({cluster_of(base), (end - base) / cluster_size()}));
}

}  // namespace ashlar::qcow2
