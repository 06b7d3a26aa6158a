// Where a guest range lives: the answers a format gives and the layer acts on.
#pragma once

#include <cstdint>
#include <variant>

#include "ashlar/bytes.h"

namespace ashlar {

class Child;

/// Plain bytes of a child. In place: they may be overwritten where they are; otherwise other users
/// (snapshots) share them, and a write must allocate.
struct InFile {
  Child* child = nullptr;
  uint64_t offset = 0;
  bool in_place = false;
};
/// Reads as zeroes by this layer's own word. May have room reserved in a child.
struct ReadsZero {
  Child* child = nullptr;
  uint64_t offset = 0;
};
/// This layer has nothing: the backing child answers, or zeroes when there is none.
/// May have room reserved in a child, in which nothing counts yet.
struct InBacking {
  Child* child = nullptr;
  uint64_t offset = 0;
};
/// Compressed or otherwise encoded; only the driver can read it (read_encoded()).
struct Encoded {
  ByteRange unit;            ///< the guest range that is decoded at once
  uint64_t host_offset = 0;  ///< in the data child
  uint64_t host_length = 0;  ///< upper bound of the encoded bytes
};

/// The answer for the start of a range.
struct Mapping {
  uint64_t length = 0;  ///< how far the answer holds, at least 1; may reach past what was asked
  std::variant<InFile, ReadsZero, InBacking, Encoded> where;
};

/// Room found for the start of a guest range, not visible until it is committed.
struct Allocation {
  /// What commit() makes visible: whole units of the format. Where the new data does not cover it,
  /// the layer writes the old contents.
  ByteRange guest;
  Child* child = nullptr;
  uint64_t offset = 0;  ///< in `child`, of guest.offset
  /// The room reads as zeroes already, so that zeroes need not be written around the data.
  bool reads_zero = false;
  uint64_t token = 0;  ///< the driver's own
};

}  // namespace ashlar
