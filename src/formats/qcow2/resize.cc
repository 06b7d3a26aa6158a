// Growing and shrinking, and preallocation. Requests are drained.
#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "base/endian.h"
#include "formats/qcow2/image.h"

namespace ashlar::qcow2 {

Task<Result<void>> Image::resize(uint64_t size, ResizeFlags flags) {
  Result<void> done = check_writable();
  // Another resize still waits for its header.
  if (done && new_bitmaps_) done = co_await flush();
  if (!done) co_return done;
  if (!is_aligned(size, 512)) {  // as existing tools count
    co_return fail(Error(ErrorCode::kInvalidArgument,
                         fmt::format("size {} is not a multiple of 512 bytes", size))
                       .because("qcow2-size-unaligned"));
  }
  if (header_.snapshot_count != 0 && header_.version < 3) {
    co_return fail(
        Error(ErrorCode::kUnsupported, "version 2 images with snapshots cannot be resized")
            .because("qcow2-resize-snapshots"));
  }
  if (size < size_.load() && flags.preallocation != Preallocation::kOff) {
    co_return fail(Error(ErrorCode::kInvalidArgument, "preallocation is for growing only")
                       .because("preallocation-shrink"));
  }
  if (header_.valid_bitmaps() == nullptr) {
    done = co_await begin_writing();
  } else if (size == size_.load()) {
    co_return ok();
  } else {
    // Nothing that they track is written: they need not be marked as in use.
    done = co_await prepare_bitmaps_for(size);
  }
  if (!done) co_return done;
  if (size < size_.load()) {
    done = co_await shrink(size);
  } else {
    done = co_await grow(size, flags.preallocation);
  }
  if (!done) co_await drop_new_bitmaps();
  co_return done;
}

Task<Result<void>> Image::grow(uint64_t size, Preallocation preallocation) {
  const uint64_t old_size = size_.load();
  const std::optional<uint32_t> entries = l1_entries_for(header_, size);
  if (!entries) {
    co_return fail(
        Error(ErrorCode::kTooLarge,
              fmt::format("{} bytes need a larger L1 table than {} bytes", size, kMaxL1Bytes))
            .because("qcow2-too-large"));
  }
  if (*entries > l2_->l1_size()) {
    if (Result<void> grown = co_await grow_l1(*entries); !grown) co_return grown;
  }
  // What an interrupted shrinking left beyond the end must not come back.
  if (Result<void> forgotten = co_await forget_from(old_size); !forgotten) co_return forgotten;
  if (data_file_ != nullptr && data_file_->size() < size) {
    ResizeFlags in_file;
    in_file.preallocation =
        preallocation == Preallocation::kMetadata ? Preallocation::kOff : preallocation;
    if (Result<void> grown = co_await data_file_->resize(size, in_file); !grown) co_return grown;
  }
  // A raw data file shows its bytes wherever the image is: all of it is mapped.
  if (header_.has_raw_data_file() && preallocation == Preallocation::kOff) {
    preallocation = Preallocation::kMetadata;
  }
  size_.store(size);
  if (preallocation != Preallocation::kOff) {
    // A cluster that still shows the backing file keeps doing so.
    const uint64_t begin = host_.has_backing() ? std::min(align_up(old_size, cluster_size()), size)
                                               : align_down(old_size, cluster_size());
    Result<void> filled = co_await preallocate({begin, size - begin}, preallocation);
    if (filled) filled = co_await write_back();
    if (!filled) {
      size_.store(old_size);
      co_return filled;
    }
  }
  // The header follows with the next flush: until the layer has zeroed what shows through from
  // below, nobody may find the new size after a power cut.
  co_return ok();
}

/// Puts a larger L1 table in place of the old one.
Task<Result<void>> Image::grow_l1(uint64_t entries) {
  // The copy below is of what is durable, so that the old table and the new one say the same.
  if (Result<void> done = co_await write_back(); !done) co_return done;
  const uint64_t clusters = divide_up(entries * 8, cluster_size());
  Result<uint64_t> first = uint64_t{0};
  {
    EpochDomain::Ticket inside = host_.requests().enter();
    Mutex::Guard guard = co_await metadata_.lock();
    first = co_await refcounts_->allocate_exactly(clusters);
  }
  if (!first) co_return fail(first.error());
  const uint64_t offset = *first * cluster_size();
  std::vector<std::byte> bytes(clusters * cluster_size());
  for (uint64_t i = 0; i < l2_->l1_size(); ++i)
    store_be<uint64_t>(bytes.data() + i * 8, l2_->l1(i).raw);
  const ConstBuffers table(bytes.data(), bytes.size());
  Result<void> done = co_await file_.write({offset, bytes.size()}, table, {});
  if (done) done = co_await write_back();
  if (!done) co_return done;

  const ByteRange old{header_.l1_table_offset, header_.l1_bytes()};
  const uint32_t old_entries = header_.l1_size;
  header_.l1_table_offset = offset;
  header_.l1_size = static_cast<uint32_t>(entries);
  done = co_await write_header();
  if (!done) {
    header_.l1_table_offset = old.offset;
    header_.l1_size = old_entries;
    co_return done;
  }
  l2_->resize_l1(entries);
  ranges_.add({offset, bytes.size()}, "active L1 table");
  Mutex::Guard guard = co_await metadata_.lock();
  if (!old.empty()) {
    ranges_.remove(old);
    free_later({cluster_of(old.offset), divide_up(old.length, cluster_size())}, false);
  }
  co_return ok();
}

Task<Result<void>> Image::shrink(uint64_t size) {
  if (Result<void> done = co_await write_back(); !done) co_return done;
  // The new size first: what lies beyond it may be gone from then on, not before.
  Result<void> done = ok();
  if (new_bitmaps_) {
    done = co_await switch_to_new_bitmaps(size);
  } else {
    const uint64_t old_size = header_.size;
    header_.size = size;
    done = co_await write_header();
    if (!done) header_.size = old_size;
  }
  if (!done) co_return done;
  size_.store(size);
  done = co_await forget_from(size);
  if (done && data_file_ != nullptr && data_file_->size() > size) {
    done = co_await data_file_->resize(size, {});
  }
  // Unmap durably, count down, then the end of the file can go.
  for (int rounds = 0; done && rounds < 2; ++rounds) {
    done = co_await write_back();
    end_lookups();
  }
  if (done) done = co_await truncate_file();
  co_return done;
}

/// Unmaps all clusters behind the one that `end` is in.
Task<Result<void>> Image::forget_from(uint64_t end) {
  const uint64_t keep = align_up(end, cluster_size());
  const uint64_t coverage = header_.l1_entry_coverage();
  const uint64_t whole_tables = divide_up(keep, coverage);
  Result<void> done = co_await drop_tables_from(whole_tables);
  const ByteRange rest{keep, whole_tables * coverage - keep};
  if (done) done = co_await clear(rest, Clear::kForget);
  co_return done;
}

/// Takes whole L2 tables out of the active state, and frees what only they used.
Task<Result<void>> Image::drop_tables_from(uint64_t l1_index) {
  for (uint64_t index = l1_index; index < l2_->l1_size(); ++index) {
    if (l2_->l1(index).offset() == 0) continue;
    if (Result<void> limited = co_await limit_dirty(); !limited) co_return limited;
    EpochDomain::Ticket inside = host_.requests().enter();
    Mutex::Guard guard = co_await metadata_.lock();
    const L1Entry table = l2_->l1(index);
    const uint64_t first = index * header_.l2_entries();
    for (uint64_t at = 0; at < header_.l2_entries(); at += l2_->slice_entries()) {
      Result<L2Slice*> slice = co_await l2_->load(first + at);
      if (!slice) co_return fail(slice.error());
      for (size_t i = 0; i < (*slice)->entries(); ++i) free_entry((*slice)->entry(i));
    }
    l2_->drop_table(index);
    ranges_.remove(cluster_range(table.offset()));
    free_later({cluster_of(table.offset()), 1}, false);
  }
  co_return ok();
}

/// Cuts off free clusters at the end of the file.
Task<Result<void>> Image::truncate_file() {
  uint64_t end = 0;
  {
    EpochDomain::Ticket inside = host_.requests().enter();
    Mutex::Guard guard = co_await metadata_.lock();
    Result<uint64_t> used = co_await refcounts_->end_of_used();
    if (!used) co_return fail(used.error());
    end = *used * cluster_size();
  }
  if (end == 0 || end >= file_.size() || file_.info().end != NodeInfo::End::kGrows) co_return ok();
  co_return co_await file_.resize(end, {});
}

/// Gives every cluster of `range` that has nothing a cluster of its own that reads as zeroes.
Task<Result<void>> Image::preallocate(ByteRange range, Preallocation mode) {
  while (!range.empty()) {
    if (Result<void> limited = co_await limit_dirty(); !limited) co_return limited;
    Result<uint64_t> done = co_await preallocate_some(range, mode);
    if (!done) co_return fail(done.error());
    range = range.after(std::min(*done, range.length));
  }
  co_return ok();
}

Task<Result<uint64_t>> Image::preallocate_some(ByteRange range, Preallocation mode) {
  const uint64_t cluster = cluster_of(range.offset);
  ClusterRun run;
  {
    EpochDomain::Ticket inside = host_.requests().enter();
    Mutex::Guard guard = co_await metadata_.lock();
    if (Result<void> ready = co_await ensure_table(cluster); !ready) co_return fail(ready.error());
    Result<ExtendedL2Entry> entry = co_await read_entry(cluster);
    if (!entry) co_return fail(entry.error());
    if (*entry != ExtendedL2Entry{}) co_return cluster_size();
    Result<uint64_t> count = co_await count_to_allocate(range);
    if (!count) co_return fail(count.error());
    Result<ClusterRun> found = ClusterRun{cluster, *count};
    if (data_file_ == nullptr) found = co_await refcounts_->allocate(*count);
    if (!found) co_return fail(found.error());
    run = *found;
  }
  const ByteRange room{run.first * cluster_size(), run.count * cluster_size()};
  if (data_file_ == nullptr) {
    Result<void> zeroed = co_await zero_room(room, mode);
    if (!zeroed) co_return fail(zeroed.error());
  }
  Allocation all;
  all.guest = {cluster << header_.cluster_bits, room.length};
  all.offset = room.offset;
  if (Result<void> committed = co_await commit(all); !committed) co_return fail(committed.error());
  co_return all.guest.end() - range.offset;
}

/// Makes fresh clusters read as zeroes, and lets the file system reserve them if asked.
Task<Result<void>> Image::zero_room(ByteRange room, Preallocation mode) {
  const uint64_t end = file_.size();
  if (room.offset < end) {
    Result<void> zeroed = co_await file_.write_zeroes(room.first(end - room.offset), {});
    if (!zeroed) co_return zeroed;
  }
  if (room.end() <= end) co_return ok();
  ResizeFlags flags;
  flags.preallocation = mode == Preallocation::kMetadata ? Preallocation::kOff : mode;
  co_return co_await file_.resize(room.end(), flags);
}

}  // namespace ashlar::qcow2
