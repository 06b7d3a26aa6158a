// Zeroing and discarding whole clusters and subclusters.
#include <algorithm>

#include "formats/qcow2/image.h"

namespace ashlar::qcow2 {

Task<Result<void>> Image::write_zeroes(ByteRange range, ZeroFlags flags) {
  if (Result<void> allowed = co_await begin_writing(); !allowed) co_return allowed;
  // Version 2 cannot say "zero" above a backing file.
  if (header_.version < 3 && host_.has_backing()) {
    co_return fail(ErrorCode::kUnsupported, "version 2 images cannot hide their backing file");
  }
  if (data_file_ != nullptr && (header_.has_raw_data_file() || flags.may_unmap)) {
    // The data file of a raw one is the guest's disk by itself: it has to be zero there, too.
    ZeroFlags in_file;
    in_file.may_unmap = flags.may_unmap;
    Result<void> done = co_await data_file_->write_zeroes(range, in_file);
    if (!done) co_return done;
  }
  const bool free = flags.may_unmap || header_.version < 3;
  co_return co_await clear(range, free ? Clear::kZero : Clear::kZeroKeepRoom);
}

Task<Result<void>> Image::discard(ByteRange range) {
  if (Result<void> allowed = co_await begin_writing(); !allowed) co_return allowed;
  if (header_.version < 3 && host_.has_backing()) co_return ok();
  if (data_file_ != nullptr && passes_discards()) {
    ZeroFlags in_file;
    in_file.may_unmap = true;
    // A raw data file has to show what the image shows: zeroes.
    Result<void> done;
    if (header_.has_raw_data_file()) {
      done = co_await data_file_->write_zeroes(range, in_file);
    } else {
      done = co_await data_file_->discard(range);
    }
    if (!done) co_return done;
  }
  co_return co_await clear(range, Clear::kDiscard);
}

Task<Result<void>> Image::clear(ByteRange range, Clear how) {
  while (!range.empty()) {
    if (Result<void> limited = co_await limit_dirty(); !limited) co_return limited;
    Result<uint64_t> done = co_await clear_in_slice(range, how);
    if (!done) co_return fail(done.error());
    range = range.after(std::min(*done, range.length));
  }
  co_return ok();
}

/// Clears the part of `range` that one slice covers; gives how far it got.
Task<Result<uint64_t>> Image::clear_in_slice(ByteRange range, Clear how) {
  EpochDomain::Ticket inside = host_.requests().enter();
  Mutex::Guard guard = co_await metadata_.lock();
  const uint64_t first = cluster_of(range.offset);
  const uint64_t index = l2_->l1_index(first);
  const bool nothing_there = index >= l2_->l1_size() || l2_->l1(index).raw == 0;
  const bool nothing_to_hide = how == Clear::kForget || header_.version < 3 ||
                               (how == Clear::kDiscard && !host_.has_backing());
  if (nothing_there && nothing_to_hide) co_return empty_l1_length(range);
  if (nothing_there) {
    if (Result<void> ready = co_await ensure_table(first); !ready) co_return fail(ready.error());
  }
  Result<L2Slice*> slice = co_await l2_->load(first);
  if (!slice) co_return fail(slice.error());

  const size_t slot = l2_->index_in_slice(first);
  const uint64_t last = cluster_of(range.end() - 1);
  const uint64_t count = std::min<uint64_t>(last - first + 1, (*slice)->entries() - slot);
  std::vector<ExtendedL2Entry> entries;
  std::vector<ExtendedL2Entry> replaced;
  bool changes = false;
  entries.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t guest = (first + i) << header_.cluster_bits;
    const uint64_t begin = std::max(range.offset, guest);
    // The end of the device counts as the end of its last cluster.
    const uint64_t end = range.end() >= size_.load()
                             ? guest + cluster_size()
                             : std::min(range.end(), guest + cluster_size());
    const ExtendedL2Entry old = (*slice)->entry(slot + i);
    const ByteRange part{begin, end - begin};
    if (old.descriptor.compressed() && part.length < cluster_size()) {
      co_return fail(ErrorCode::kUnsupported, "part of a compressed cluster cannot be zeroed");
    }
    entries.push_back(cleared(old, part, how));
    changes = changes || entries.back() != old;
    const bool kept_room = entries.back().descriptor.offset() == old.descriptor.offset();
    if (old.descriptor.compressed() || !kept_room) replaced.push_back(old);
  }
  const uint64_t done = ((first + count) << header_.cluster_bits) - range.offset;
  if (!changes) co_return done;
  Result<void> stored = co_await ensure_table(first);
  if (stored) stored = co_await store_entries(first, entries);
  if (!stored) co_return fail(stored.error());
  const bool asked = how == Clear::kDiscard || how == Clear::kZero;
  const bool punch = asked ? passes_discards() : options_.pass_discard_other;
  const size_t before = pending_.size();
  for (const ExtendedL2Entry& old : replaced) free_entry(old);
  for (size_t i = before; i < pending_.size(); ++i) pending_[i].punch = punch;
  co_return done;
}

ExtendedL2Entry Image::cleared(const ExtendedL2Entry& old, ByteRange part, Clear how) const {
  const ClusterKind kind = old.descriptor.kind(rules());
  const bool nothing = kind == ClusterKind::kUnallocated && old.bitmap.raw == 0;
  if (how == Clear::kForget || header_.version < 3) return {};
  if (how == Clear::kDiscard && nothing && !host_.has_backing()) return old;
  const bool has_room = kind == ClusterKind::kNormal || kind == ClusterKind::kZeroAllocated;
  // Room that a snapshot shares is not this image's to keep.
  const bool keep =
      has_room && old.descriptor.copied() &&
      (how == Clear::kZeroKeepRoom || (how == Clear::kDiscard && options_.discard_no_unref));
  if (!header_.has_extended_l2()) {
    if (!keep) return {L2Entry::zero_plain(), {}};
    return {L2Entry::zero_allocated(old.descriptor.offset(), kCopiedFlag), {}};
  }
  if (part.length == cluster_size()) {
    return {keep ? old.descriptor : L2Entry{}, SubclusterBitmap::all_zero()};
  }
  const uint64_t unit = header_.subcluster_size();
  const uint64_t begin = part.offset & (cluster_size() - 1);
  const auto first = static_cast<unsigned>(begin / unit);
  const auto count = static_cast<unsigned>(part.length / unit);
  const auto mask = static_cast<uint32_t>(((uint64_t{1} << count) - 1) << first);
  return {old.descriptor,
          SubclusterBitmap::of(old.bitmap.allocated() & ~mask, old.bitmap.zero() | mask)};
}

}  // namespace ashlar::qcow2
