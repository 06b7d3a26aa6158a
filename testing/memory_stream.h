// A pair of connected streams in memory: for tests of protocols, in simulation too. They can read
// byte by byte, hold up writers, and break the connection at a byte.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "ashlar/stream.h"

namespace ashlar::testing {

/// How bytes of one direction travel.
struct MemoryStreamShape {
  enum class Reads : uint8_t {
    kWhole,     ///< as much as there is and fits
    kBytewise,  ///< one byte at a time
    kRandom,    ///< any part of what there is, by the loop's random numbers
  } reads = Reads::kWhole;
  /// Writers wait when so much has not been read.
  size_t capacity = 64_KiB;
  /// After so many bytes the connection is gone: readers of both sides get what had come before
  /// and then the end, writers fail.
  std::optional<uint64_t> cut_after;
};

/// Both ends of a connection. `first_to_second` is for what the first one writes. The ends may be
/// used from different loops.
std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> memory_stream_pair(
    MemoryStreamShape first_to_second = {}, MemoryStreamShape second_to_first = {});

}  // namespace ashlar::testing
