// Which parts of a read have been answered: every byte once, in any order.
#pragma once

#include <algorithm>
#include <vector>

#include "ashlar/bytes.h"

namespace ashlar::nbd::client {

class ReceivedRanges {
 public:
  /// Most separate parts that are kept: no real server scatters a read more.
  static constexpr size_t kMostParts = 4096;

  /// Adds a part. False: some of it was there already, or there are too many parts.
  bool add(ByteRange part) {
    const auto after = std::ranges::upper_bound(parts_, part.offset, {}, &ByteRange::offset);
    const bool has_before = after != parts_.begin();
    if (has_before && std::prev(after)->end() > part.offset) return false;
    if (after != parts_.end() && part.end() > after->offset) return false;
    const bool joins_before = has_before && std::prev(after)->end() == part.offset;
    const bool joins_after = after != parts_.end() && part.end() == after->offset;
    if (joins_before) {
      std::prev(after)->length += part.length;
      if (joins_after) {
        std::prev(after)->length += after->length;
        parts_.erase(after);
      }
    } else if (joins_after) {
      after->length += part.length;
      after->offset = part.offset;
    } else {
      if (parts_.size() == kMostParts) return false;
      parts_.insert(after, part);
    }
    return true;
  }

  bool covers(ByteRange all) const {
    return all.empty() || (parts_.size() == 1 && parts_.front().contains(all));
  }

 private:
  std::vector<ByteRange> parts_;  // ascending, never touching
};

}  // namespace ashlar::nbd::client
