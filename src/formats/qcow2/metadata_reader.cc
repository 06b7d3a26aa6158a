// Reads metadata in large pieces.
#include "formats/qcow2/metadata_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "ashlar/driver.h"

namespace ashlar::qcow2 {

Task<Result<std::span<const std::byte>>> MetadataReader::view(ByteRange range, uint64_t limit) {
  assert(range.length <= window_);
  if (range.offset > kMaxDeviceSize || range.length > kMaxDeviceSize - range.offset) {
    co_return fail(ErrorCode::kOutOfRange,
                   fmt::format("read of {} bytes at 0x{:x}, past the largest possible file",
                               range.length, range.offset));
  }
  const ByteRange have = {start_, buffer_.size()};
  if (!have.contains(range)) {
    const uint64_t end = std::clamp(limit, range.end(), range.offset + window_);
    buffer_.resize(end - range.offset);
    start_ = range.offset;
    const ByteRange window = {start_, buffer_.size()};
    MutableBuffers into(buffer_);
    if (auto done = co_await file_.read(window, into); !done) {
      buffer_.clear();
      co_return fail(done.error());
    }
  }
  co_return std::span<const std::byte>(buffer_).subspan(range.offset - start_, range.length);
}

}  // namespace ashlar::qcow2
