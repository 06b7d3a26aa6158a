// One request to a backend as a value: to make histories of, to print, to carry out.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ashlar/backend.h"
#include "ashlar/bytes.h"

namespace ashlar {

/// Bytes that compress well.
std::vector<std::byte> compressible_bytes(size_t size, uint64_t seed);

struct BlockOperation {
  enum class Kind : uint8_t {
    kRead,
    kWrite,
    kWriteThrough,  ///< durable when it completes
    kCompressed,
    kZero,
    kZeroThrough,
    kZeroUnmap,
    kDiscard,
    kFlush,
    kStatus,
    kResize,  ///< to range.offset
  };
  Kind kind = Kind::kFlush;
  ByteRange range{};
  uint64_t content = 0;  ///< seed of what is written

  /// The bytes it writes.
  std::vector<std::byte> bytes() const;
  bool writes_bytes() const {
    return kind == Kind::kWrite || kind == Kind::kWriteThrough || kind == Kind::kCompressed;
  }
  bool zeroes() const {
    return kind == Kind::kZero || kind == Kind::kZeroThrough || kind == Kind::kZeroUnmap;
  }
  bool changes() const { return writes_bytes() || zeroes() || kind == Kind::kDiscard; }
  std::string describe() const;
};

/// Carries it out. `memory` is what a read reads into; writes bring their own bytes, in one piece
/// or several as `content` decides.
Task<Result<void>> perform(Backend& backend, BlockOperation operation, std::span<std::byte> memory);

}  // namespace ashlar
