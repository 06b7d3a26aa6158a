// The area for states of machines: clusters behind those of the disk, from a new L1 entry on.
#include <fmt/format.h>

#include <algorithm>

#include "ashlar/driver.h"
#include "base/checked.h"
#include "formats/qcow2/image.h"

namespace ashlar::qcow2 {

uint64_t Image::vm_state_offset() const {
  const uint64_t coverage = header_.l1_entry_coverage();
  return divide_up(size_.load(), coverage) * coverage;
}

Task<Result<void>> Image::read_vm_state(ByteRange range, MutableBuffers into) {
  if (range.offset > kMaxDeviceSize - vm_state_offset() - range.length) {
    co_return fail(ErrorCode::kOutOfRange, "past the end of what the format can say");
  }
  co_return co_await read_area({vm_state_offset() + range.offset, range.length}, into);
}

/// Reads guest bytes, wherever they are; nothing shows from below.
Task<Result<void>> Image::read_area(ByteRange guest, MutableBuffers into) {
  for (size_t done = 0; done < into.size();) {
    const ByteRange rest = guest.after(done);
    if (rest.offset / header_.l1_entry_coverage() >= l2_->l1_size()) {
      into.from(done).fill(std::byte{0});
      break;
    }
    const Result<Mapping> mapping = co_await map(rest);
    if (!mapping) co_return fail(mapping.error());
    const uint64_t in_cluster = cluster_size() - rest.offset % cluster_size();
    const uint64_t length = std::min({mapping->length, rest.length, in_cluster});
    const MutableBuffers part = into.slice(done, length);
    Result<void> read = ok();
    if (const auto* file = std::get_if<InFile>(&mapping->where)) {
      const ByteRange where(file->offset, length);
      read = co_await file->child->read(where, part);
    } else if (const auto* encoded = std::get_if<Encoded>(&mapping->where)) {
      const Encoded unit = *encoded;
      const ByteRange where = rest.first(length);
      read = co_await read_encoded(unit, where, part);
    } else {
      part.fill(std::byte{0});
    }
    if (!read) co_return read;
    done += length;
  }
  co_return ok();
}

Task<Result<void>> Image::write_vm_state(ByteRange range, ConstBuffers from) {
  Result<void> done = co_await begin_writing();
  if (!done || range.empty()) co_return done;
  const uint64_t start = vm_state_offset();
  const uint64_t most = kMaxL1Bytes / 8;
  const uint64_t coverage = header_.l1_entry_coverage();
  if (range.offset > kMaxDeviceSize - start - range.length ||
      divide_up(start + range.end(), coverage) > most) {
    co_return fail(Error(ErrorCode::kTooLarge,
                         fmt::format("machine states up to 0x{:x} need more than {} L1 entries",
                                     range.end(), most))
                       .because("qcow2-too-large"));
  }
  const uint64_t entries = divide_up(start + range.end(), coverage);
  if (entries > l2_->l1_size()) done = co_await grow_l1(entries);
  for (size_t at = 0; done && at < from.size();) {
    const uint64_t guest = start + range.offset + at;
    const uint64_t in_cluster = cluster_size() - guest % cluster_size();
    const size_t length = std::min<uint64_t>(in_cluster, from.size() - at);
    done = co_await write_in_cluster(guest, from.slice(at, length));
    at += length;
  }
  if (done) done = co_await flush();
  co_return done;
}

/// Writes a part of one cluster, with what is around it.
Task<Result<void>> Image::write_in_cluster(uint64_t guest, ConstBuffers from) {
  if (Result<void> limited = co_await limit_dirty(); !limited) co_return limited;
  const ByteRange cluster{align_down(guest, cluster_size()), cluster_size()};
  std::vector<std::byte> bytes(cluster_size());
  const MutableBuffers all(bytes.data(), bytes.size());
  if (Result<void> read = co_await read_area(cluster, all); !read) co_return read;
  from.copy_to(std::span(bytes).subspan(guest - cluster.offset, from.size()));
  const ConstBuffers contents(bytes.data(), bytes.size());
  // Room that is there already comes in parts.
  for (ByteRange left = cluster; !left.empty();) {
    const Result<Allocation> room = co_await allocate(left);
    if (!room) co_return fail(room.error());
    const uint64_t length = std::min(room->guest.end(), left.end()) - left.offset;
    const ByteRange where{room->offset, length};
    const ConstBuffers part = contents.slice(left.offset - cluster.offset, length);
    Result<void> done = co_await room->child->write(where, part, {});
    if (!done) {
      co_await abandon(*room);
      co_return done;
    }
    done = co_await commit(*room);
    if (!done) co_return done;
    left = left.after(length);
  }
  co_return ok();
}

}  // namespace ashlar::qcow2
