// Reads metadata in large pieces, for those who go through tables from front to back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/task.h"

namespace ashlar {
class Child;
}  // namespace ashlar

namespace ashlar::qcow2 {

/// A window over a file that moves forward. One user at a time.
class MetadataReader {
 public:
  static constexpr size_t kWindow = 256_KiB;

  /// `file` must outlive this.
  explicit MetadataReader(Child& file, size_t window = kWindow) : file_(file), window_(window) {}

  /// `range`, at most kWindow bytes, valid until the next call. Past the end of the file there are
  /// zeroes. `limit` ends the area that is worth reading ahead.
  /// Errors: kIo and what the file gives; kOutOfRange for ranges that no file can have.
  Task<Result<std::span<const std::byte>>> view(ByteRange range, uint64_t limit);

 private:
  Child& file_;
  size_t window_;
  std::vector<std::byte> buffer_;
  uint64_t start_ = 0;  // of the window in the file
};

}  // namespace ashlar::qcow2
