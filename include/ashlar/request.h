// What goes with a request, and what block status answers: the words frontends and drivers share.
#pragma once

#include <cstdint>
#include <optional>

namespace ashlar {

class Child;

struct WriteFlags {
  constexpr WriteFlags() {}  // NOLINT(modernize-use-equals-default): see ByteRange
  bool fua = false;          ///< durable when it completes
  bool compressed = false;   ///< store encoded; whole units only
  /// When it completes, the end of this process cannot undo it any more, only the host's can.
  bool outlives_process = false;
};

struct ZeroFlags {
  constexpr ZeroFlags() {}   // NOLINT(modernize-use-equals-default): see ByteRange
  bool may_unmap = false;    ///< the space may be given back
  bool no_fallback = false;  ///< fail with kUnsupported rather than write zeroes
  bool fua = false;
  bool outlives_process = false;  ///< as in WriteFlags
};

enum class Preallocation : uint8_t { kOff, kMetadata, kFalloc, kFull };

struct ResizeFlags {
  constexpr ResizeFlags() {}  // NOLINT(modernize-use-equals-default): see ByteRange
  Preallocation preallocation = Preallocation::kOff;
};

/// What block status says about the start of a range.
struct Extent {
  uint64_t length = 0;
  unsigned depth = 0;              ///< layers down the backing chain, 0 is the top
  bool present = false;            ///< some layer has it
  bool zero = false;               ///< reads as zeroes
  bool data = false;               ///< occupies data in a file
  bool compressed = false;         ///< stored encoded
  std::optional<uint64_t> offset;  ///< in `file`, when it can be read there plainly
  const Child* file = nullptr;     ///< the storage that holds it

  bool same_state(const Extent& other) const {
    return depth == other.depth && present == other.present && zero == other.zero &&
           data == other.data && compressed == other.compressed && file == other.file;
  }
};

}  // namespace ashlar
