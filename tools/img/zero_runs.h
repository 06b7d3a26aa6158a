// Data with zeroes in it: which parts have to be written.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "ashlar/bytes.h"
#include "base/zero_scan.h"

namespace ashlar::tools {

/// A part of a buffer that is all zeroes, or is not.
struct ZeroRun {
  size_t offset = 0;
  size_t length = 0;
  bool zero = false;
};

/// Splits a buffer into zeroes and data. Zeroes count where whole blocks are zero; blocks are
/// counted from the start of the buffer.
class ZeroRuns {
 public:
  /// `block` 0: everything is data.
  ZeroRuns(std::span<const std::byte> bytes, size_t block) : bytes_(bytes), block_(block) {}

  std::optional<ZeroRun> next() {
    if (at_ == bytes_.size()) return std::nullopt;
    ZeroRun run{.offset = at_, .length = 0, .zero = false};
    if (block_ == 0) {
      run.length = bytes_.size();
    } else {
      run.zero = zero_at(at_);
      do {
        run.length += block_at(at_ + run.length);
      } while (at_ + run.length < bytes_.size() && zero_at(at_ + run.length) == run.zero);
    }
    at_ += run.length;
    return run;
  }

 private:
  size_t block_at(size_t offset) const { return std::min(block_, bytes_.size() - offset); }
  bool zero_at(size_t offset) const { return is_zero(bytes_.subspan(offset, block_at(offset))); }

  std::span<const std::byte> bytes_;
  size_t block_;
  size_t at_ = 0;
};

}  // namespace ashlar::tools
