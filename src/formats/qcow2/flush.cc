// Writing metadata back in an order that is right after a power cut at any point:
//   1. data and refcounts (they only went up), then a flush;
//   2. refcount table entries of new blocks, then a flush, if there are any;
//   3. L2 tables; a flush and the L1 entries that point to new ones, if there are any; a flush;
//   4. only then do refcounts of what was unmapped go down, and its clusters may be used again,
//      once no request is left that looked them up before.
#include <algorithm>

#include "base/endian.h"
#include "formats/qcow2/image.h"

namespace ashlar::qcow2 {

namespace {

/// Changed metadata that is kept back at most; more starts a write-back.
constexpr size_t kMaxDirtySlices = 1024;
constexpr size_t kMaxDirtyRefcountParts = 512;
/// Clusters waiting to be freed at most, in bytes of the image file.
constexpr uint64_t kMaxPendingBytes = 256_MiB;
/// Neighbouring pieces of metadata are written together up to this size.
constexpr size_t kJoinedWrite = 256_KiB;

/// Writes pieces that are sorted by offset, neighbours in one request.
template <typename Piece>
Task<Result<void>> write_sorted(Child& file, std::span<const Piece> pieces) {
  std::vector<std::byte> joined;
  for (size_t i = 0; i < pieces.size();) {
    const uint64_t start = pieces[i].host_offset;
    joined.clear();
    while (i < pieces.size() && joined.size() < kJoinedWrite &&
           pieces[i].host_offset == start + joined.size()) {
      joined.insert(joined.end(), pieces[i].bytes.begin(), pieces[i].bytes.end());
      ++i;
    }
    const ConstBuffers bytes(joined.data(), joined.size());
    Result<void> written = co_await file.write({start, joined.size()}, bytes, {});
    if (!written) co_return written;
  }
  co_return ok();
}

}  // namespace

/// One write-back: copies of everything that was dirty at one moment.
struct Image::Round {
  uint64_t mapping_changes = 0;
  uint64_t table_offset = 0;  // a larger table elsewhere has the new entries already
  std::vector<Refcounts::DirtyPart> parts;
  std::vector<Refcounts::DirtyTableEntry> table;
  std::vector<L2Cache::DirtySlice> slices;
  std::vector<L2Cache::DirtyL1> l1;
  std::vector<Pending> pending;
  std::vector<ByteRange> partly_written;
};

Task<Result<void>> Image::sync_children() {
  Result<void> done = co_await file_.flush();
  if (done && data_file_ != nullptr) done = co_await data_file_->flush();
  co_return done;
}

/// Failing loses nothing: see Image::note_partly_written().
Task<void> Image::fill_room(const Round& round) {
  for (const ByteRange& room : round.partly_written) {
    static_cast<void>(co_await file_.reserve(room));
  }
}

Task<Result<void>> Image::write_refcounts(const Round& round) {
  co_await fill_room(round);
  Result<void> done = co_await write_sorted<Refcounts::DirtyPart>(file_, round.parts);
  if (!done) co_return done;
  done = co_await sync_children();
  if (!done || round.table.empty()) co_return done;
  for (const Refcounts::DirtyTableEntry& entry : round.table) {
    std::array<std::byte, 8> raw;
    store_be<uint64_t>(raw.data(), entry.host_offset);
    const ConstBuffers bytes(raw.data(), raw.size());
    done = co_await file_.write({round.table_offset + entry.index * 8, 8}, bytes, {});
    if (!done) co_return done;
  }
  co_return co_await file_.flush();
}

Task<Result<void>> Image::write_slices(const Round& round) {
  if (round.slices.empty()) co_return ok();
  Result<void> done = co_await write_sorted<L2Cache::DirtySlice>(file_, round.slices);
  if (!done) co_return done;
  co_return co_await file_.flush();
}

Task<Result<void>> Image::write_l1(const Round& round) {
  if (round.l1.empty()) co_return ok();
  std::vector<std::byte> joined;
  for (size_t i = 0; i < round.l1.size();) {
    const uint64_t first = round.l1[i].index;
    joined.clear();
    while (i < round.l1.size() && round.l1[i].index == first + joined.size() / 8) {
      joined.resize(joined.size() + 8);
      store_be<uint64_t>(joined.data() + joined.size() - 8, round.l1[i].raw);
      ++i;
    }
    const ConstBuffers bytes(joined.data(), joined.size());
    Result<void> done =
        co_await file_.write({header_.l1_table_offset + first * 8, joined.size()}, bytes, {});
    if (!done) co_return done;
  }
  co_return co_await file_.flush();
}

Task<Result<void>> Image::write_round(Round& round) {
  Result<void> done = co_await write_refcounts(round);
  if (done) done = co_await write_slices(round);
  if (done) done = co_await write_l1(round);
  co_return done;
}

/// Puts back what could not be written; moves on what is unmapped durably now. Under metadata_.
void Image::end_round(Round& round, Result<void> result) {
  l2_->written(round.slices, result);
  refcounts_->written(round.parts, round.table, result);
  if (!result) {
    l2_->put_back_l1(round.l1);
    for (const Pending& freed : round.pending) free_later(freed.run, freed.punch);
    return;
  }
  settled_.store(round.mapping_changes);
  const uint64_t phase = host_.requests().phase();
  for (Pending& freed : round.pending) {
    freed.phase = phase;
    limbo_.push_back(freed);
  }
}

Task<Result<void>> Image::write_back() {
  Mutex::Guard writing = co_await writeback_.lock();
  Result<void> done;
  {
    EpochDomain::Ticket inside = host_.requests().enter();
    Round round;
    {
      Mutex::Guard guard = co_await metadata_.lock();
      // Nobody knows which header a failed write has left: nothing may be built on the wrong one.
      if (header_uncertain_) done = co_await write_header();
      if (!done) co_return done;
      round.mapping_changes = mapping_changes_.load();
      round.table_offset = refcounts_->table_offset();
      round.parts = refcounts_->take_dirty_parts();
      round.table = refcounts_->take_dirty_table();
      round.slices = l2_->take_dirty_slices();
      round.l1 = l2_->take_dirty_l1();
      round.pending = std::exchange(pending_, {});
      pending_count_.store(0, std::memory_order_relaxed);
      round.partly_written = std::exchange(partly_written_, {});
    }
    done = co_await write_round(round);
    Mutex::Guard guard = co_await metadata_.lock();
    end_round(round, done);
  }
  if (!done) co_return done;
  co_return co_await release_freed();
}

/// Frees what is unmapped durably and known to no request any more. Under writeback_.
Task<Result<void>> Image::release_freed() {
  std::vector<Pending> ready;
  std::vector<ByteRange> punched;
  {
    Mutex::Guard guard = co_await metadata_.lock();
    if (limbo_.empty()) co_return ok();
    host_.requests().try_advance();
    host_.requests().try_advance();
    const uint64_t phase = host_.requests().phase();
    std::erase_if(limbo_, [&](const Pending& freed) {
      if (freed.phase + 2 > phase) return false;
      ready.push_back(freed);
      return true;
    });
    for (const Pending& freed : ready) {
      // No more compressed data behind what goes now: it would be punched out with it.
      if (freed.run.contains(cluster_of(compressed_cursor_))) compressed_cursor_ = 0;
      if (!freed.punch) continue;
      Result<uint64_t> users = co_await refcounts_->get(freed.run.first);
      if (!users || *users != 1) continue;
      const ByteRange range{freed.run.first * cluster_size(), freed.run.count * cluster_size()};
      if (!punched.empty() && punched.back().end() == range.offset) {
        punched.back().length += range.length;
      } else {
        punched.push_back(range);
      }
    }
  }
  // Still counted as used, so that nobody is given these clusters while they are punched out. A
  // file system that cannot do it keeps the space: nothing is lost.
  for (const ByteRange& range : punched) static_cast<void>(co_await file_.discard(range));

  Mutex::Guard guard = co_await metadata_.lock();
  decoded_.clear();
  co_return co_await count_down(ready);
}

/// What could not be counted down stays in limbo. Under metadata_.
Task<Result<void>> Image::count_down(std::vector<Pending>& ready) {
  Result<void> done;
  while (!ready.empty() && done) {
    ClusterRun& run = ready.back().run;
    const ClusterRun one{run.first + run.count - 1, 1};
    done = co_await refcounts_->decrease(one);
    if (done && --run.count == 0) ready.pop_back();
  }
  limbo_.insert(limbo_.end(), ready.begin(), ready.end());
  if (done || done.error().code() != ErrorCode::kCorrupt) co_return done;
  // Fewer users were counted than there are: no cluster may be freed on that ground again.
  co_return fail(co_await mark_corrupt(done.error()));
}

/// With requests drained, nobody can know what is in limbo, whoever else is busy in the graph.
void Image::end_lookups() {
  for (Pending& freed : limbo_) freed.phase = 0;
}

Task<Result<void>> Image::limit_dirty() {
  // What is dirty cannot be forgotten: half of the memory stays for what is only read.
  const size_t slices = std::min(kMaxDirtySlices, l2_->max_slices() / 2);
  const size_t parts = std::min(kMaxDirtyRefcountParts, refcounts_->max_parts() / 2);
  if (l2_->dirty_slices() < slices && refcounts_->dirty_parts() < parts &&
      pending_count_.load(std::memory_order_relaxed) < kMaxPendingBytes / cluster_size() + 1) {
    co_return ok();
  }
  co_return co_await write_back();
}

/// The size of an image that has grown, after everything that makes the new part read as zeroes.
Task<Result<void>> Image::write_size() {
  Mutex::Guard writing = co_await writeback_.lock();
  const uint64_t size = size_.load();
  if (header_.virtual_size() == size) co_return ok();
  if (new_bitmaps_) co_return co_await switch_to_new_bitmaps(size);
  Mutex::Guard guard = co_await metadata_.lock();
  const uint64_t old_size = std::exchange(header_.size, size);
  Result<void> done = co_await write_header();
  if (!done) header_.size = old_size;
  co_return done;
}

Task<Result<void>> Image::settle() {
  const uint64_t wanted = mapping_changes_.load();
  Mutex::Guard one = co_await settling_.lock();
  if (settled_.load() >= wanted) co_return ok();
  co_return co_await write_back();
}

Task<Result<void>> Image::flush() {
  Result<void> done = co_await write_back();
  if (done) done = co_await write_size();
  co_return done;
}

Task<Result<void>> Image::close() {
  if (flags_.read_only) co_return ok();
  // The first write-back unmaps, the second counts down what was freed by that.
  Result<void> done = co_await flush();
  for (int rounds = 0; done && rounds < 3; ++rounds) {
    if (limbo_.empty() && pending_.empty() && refcounts_->dirty_parts() == 0) break;
    end_lookups();
    done = co_await write_back();
  }
  co_return done;
}

}  // namespace ashlar::qcow2
