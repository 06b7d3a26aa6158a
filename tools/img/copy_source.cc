// Reading several images as one.
#include "tools/img/copy_source.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/checked.h"

namespace ashlar::tools {

Result<void> CopySource::append(BackendRef image) {
  const Result<uint64_t> size = image->size();
  if (!size) return fail(size.error());
  return append_part(std::move(image), {0, *size});
}

Result<void> CopySource::append_part(BackendRef image, ByteRange part) {
  const uint64_t length = divide_up(part.length, kSector) * kSector;
  if (length > kMaxDeviceSize || size_ > kMaxDeviceSize - length) {
    return fail(ErrorCode::kTooLarge, "the images together are larger than 2^63 - 1 bytes");
  }
  parts_.push_back({std::move(image), part, {size_, length}});
  size_ += length;
  return ok();
}

const CopySource::Part& CopySource::part_at(uint64_t offset) const {
  const auto after = std::ranges::upper_bound(parts_, offset, {},
                                              [](const Part& part) { return part.place.offset; });
  assert(after != parts_.begin());
  return *std::prev(after);
}

Task<Result<void>> CopySource::read(ByteRange range, std::span<std::byte> into) {
  const Part& part = part_at(range.offset);
  const uint64_t start = range.offset - part.place.offset;
  if (start + range.length <= part.part.length) {
    return part.image->read({part.part.offset + start, range.length}, MutableBuffers(into));
  }
  return read_parts(range, into);
}

/// The slow way: over the end of an image.
Task<Result<void>> CopySource::read_parts(ByteRange range, std::span<std::byte> into) {
  while (!range.empty()) {
    const Part& part = part_at(range.offset);
    const uint64_t start = range.offset - part.place.offset;
    const uint64_t length = std::min(range.length, part.place.length - start);
    const uint64_t stored =
        start < part.part.length ? std::min(length, part.part.length - start) : 0;
    const ByteRange in_image{part.part.offset + start, stored};
    const MutableBuffers piece(into.first(stored));
    const Result<void> done = co_await part.image->read(in_image, piece);
    if (!done) co_return done;
    std::memset(into.data() + stored, 0, length - stored);
    into = into.subspan(length);
    range = range.after(length);
  }
  co_return ok();
}

Task<Result<Extent>> CopySource::status(ByteRange range, unsigned layers) {
  const Part& part = part_at(range.offset);
  const uint64_t start = range.offset - part.place.offset;
  if (start >= part.part.length) {
    Extent padding;
    padding.length = std::min(range.length, part.place.length - start);
    padding.zero = true;
    co_return padding;
  }
  const ByteRange inside{part.part.offset + start,
                         std::min(range.length, part.part.length - start)};
  Result<Extent> extent = co_await part.image->status(inside, layers);
  if (!extent) co_return extent;
  if (extent->length == 0) {
    co_return fail(ErrorCode::kIo, "block status made no progress");
  }
  extent->length = std::min(extent->length, inside.length);
  co_return extent;
}

}  // namespace ashlar::tools
