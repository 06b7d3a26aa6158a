// Compressed clusters: reading with a small cache, writing packed one behind the other.
#include <algorithm>

#include "async/on_loop.h"
#include "formats/qcow2/image.h"

namespace ashlar::qcow2 {

Task<Result<void>> Image::read_encoded(Encoded where, ByteRange guest, MutableBuffers into) {
  const uint64_t in_unit = guest.offset - where.unit.offset;
  const bool whole = guest.length == cluster_size() && into.contiguous();
  DecodedCache::Cluster known = decoded_.find(where.host_offset);
  if (!known) {
    const uint64_t generation = decoded_.generation();
    // The last sector may reach past the end of the file: what is missing was never needed.
    std::vector<std::byte> encoded(where.host_length);
    const MutableBuffers memory(encoded.data(), encoded.size());
    Result<void> read = co_await file_.read({where.host_offset, where.host_length}, memory);
    if (!read) co_return read;
    if (whole) {
      Result<void> decoded = codec_->decompress(encoded, into.single());
      if (!decoded) co_return fail(decoded.error().within("read compressed cluster"));
      co_return ok();
    }
    auto cluster = std::make_shared<std::vector<std::byte>>(cluster_size());
    Result<void> decoded = codec_->decompress(encoded, *cluster);
    if (!decoded) co_return fail(decoded.error().within("read compressed cluster"));
    known = std::move(cluster);
    decoded_.add(where.host_offset, known, generation);
  }
  into.copy_from(std::span(*known).subspan(in_unit, guest.length));
  co_return ok();
}

/// Room is given in the order in which writes start, so that the layout does not depend on how long
/// compressing takes.
Task<Result<void>> Image::write_encoded(ByteRange guest, ConstBuffers from) {
  const uint64_t turn = encoded_started_.fetch_add(1, std::memory_order_relaxed);
  std::vector<std::byte> padded;
  std::span<const std::byte> plain;
  if (from.contiguous() && from.size() == cluster_size()) {
    plain = from.single();
  } else {
    padded.resize(cluster_size());
    from.copy_to(std::span(padded).first(from.size()));
    plain = padded;
  }
  std::vector<std::byte> encoded(cluster_size());
  const Result<size_t> length = co_await encode(plain, encoded);

  co_await encoded_turns_.wait_for(turn);
  if (!length || *length == 0) {
    Result<void> written = ok();
    if (length) {
      written = co_await write_uncompressed(guest, plain);
    } else {
      written = fail(length.error());
    }
    encoded_turns_.pass();
    co_return written;
  }
  const Result<CompressedRoom> room = co_await room_for(guest, *length);
  encoded_turns_.pass();
  if (!room) co_return fail(room.error());

  const ConstBuffers bytes(encoded.data(), *length);
  Result<void> written = co_await file_.write({room->offset, *length}, bytes, {});
  // On failure the bytes stay counted: their clusters are shared with neighbours. A leak at worst.
  if (!written) co_return written;
  co_return co_await commit_compressed(guest.offset, *room);
}

/// How many bytes of `into` one cluster takes encoded; 0: store it as it is. On a worker: a loop
/// that compresses would hold up everything else on it, and those who wait for a lock held there.
Task<Result<size_t>> Image::encode(std::span<const std::byte> plain, std::span<std::byte> into) {
  if (Result<void> allowed = co_await begin_writing(); !allowed) co_return fail(allowed.error());
  if (data_file_ != nullptr) {
    co_return fail(Error(ErrorCode::kUnsupported,
                         "images with an external data file hold no compressed clusters")
                       .because("compression-unsupported"));
  }
  if (Result<void> limited = co_await limit_dirty(); !limited) co_return fail(limited.error());
  auto work = [this, plain, into] { return codec_->compress(plain, into); };
  OnWorker compressed(std::move(work));
  co_return co_await compressed;
}

Task<Result<Image::CompressedRoom>> Image::room_for(ByteRange guest, uint64_t length) {
  EpochDomain::Ticket inside = host_.requests().enter();
  Mutex::Guard guard = co_await metadata_.lock();
  Result<void> ready = co_await ensure_table(cluster_of(guest.offset));
  if (!ready) co_return fail(ready.error());
  co_return co_await allocate_compressed(length);
}

/// What does not get smaller is stored as it is. Room that is there already comes in parts.
Task<Result<void>> Image::write_uncompressed(ByteRange guest, ConstBuffers from) {
  ByteRange left{guest.offset, cluster_size()};
  while (!left.empty()) {
    Result<Allocation> room = co_await allocate(left);
    if (!room) co_return fail(room.error());
    const uint64_t length = std::min(room->guest.end(), left.end()) - left.offset;
    const ByteRange where{room->offset, length};
    Result<void> done = co_await room->child->write(where, from.slice(0, length), {});
    if (!done) {
      co_await abandon(*room);
      co_return done;
    }
    done = co_await commit(*room);
    if (!done) co_return done;
    left = left.after(length);
    from = from.from(length);
  }
  co_return ok();
}

/// Room for `length` bytes: behind the last compressed cluster if possible, going on into the next
/// host cluster if that is free. Each user of a host cluster counts in its refcount.
Task<Result<Image::CompressedRoom>> Image::allocate_compressed(uint64_t length) {
  const uint64_t used = compressed_cursor_ & (cluster_size() - 1);
  if (used != 0) {
    const uint64_t cluster = cluster_of(compressed_cursor_);
    Result<uint64_t> users = co_await refcounts_->get(cluster);
    if (!users) co_return fail(users.error());
    bool fits = *users != 0 && *users < refcounts_->max();
    if (fits && length > cluster_size() - used) {
      Result<bool> next = co_await refcounts_->allocate_at(cluster + 1);
      if (!next) co_return fail(next.error());
      fits = *next;
    }
    if (fits) {
      Result<void> counted = co_await refcounts_->increase({cluster, 1});
      if (!counted) co_return fail(counted.error());
      const CompressedRoom room{compressed_cursor_, length};
      compressed_cursor_ += length;
      co_return room;
    }
  }
  Result<ClusterRun> run = co_await refcounts_->allocate(1);
  if (!run) {
    if (run.error().code() == ErrorCode::kCorrupt)
      co_return fail(co_await mark_corrupt(run.error()));
    co_return fail(run.error());
  }
  const CompressedRoom room{run->first * cluster_size(), length};
  compressed_cursor_ = room.offset + length;
  co_return room;
}

Task<Result<void>> Image::commit_compressed(uint64_t guest, CompressedRoom room) {
  EpochDomain::Ticket inside = host_.requests().enter();
  Mutex::Guard guard = co_await metadata_.lock();
  const CompressedLayout layout(header_.cluster_bits);
  std::optional<L2Entry> entry = layout.encode({room.offset, room.length});
  if (!entry) {
    co_return fail(ErrorCode::kTooLarge,
                   "the image file is too large for compressed clusters of this size");
  }
  Result<ExtendedL2Entry> old = co_await read_entry(cluster_of(guest));
  if (!old) co_return fail(old.error());
  const std::array<ExtendedL2Entry, 1> entries{ExtendedL2Entry{*entry, {}}};
  Result<void> stored = co_await store_entries(cluster_of(guest), entries);
  if (!stored) co_return stored;
  free_entry(*old);
  co_return ok();
}

}  // namespace ashlar::qcow2
