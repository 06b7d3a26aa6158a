// Where the start of a range ends up after all formats and chains: the one walk down the graph.
#pragma once

#include <optional>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/mapping.h"
#include "ashlar/task.h"

namespace ashlar {
class GraphNode;
}  // namespace ashlar

namespace ashlar::request {

/// The end of a walk.
struct Target {
  enum class Kind : uint8_t {
    kStorage,  ///< plain bytes at `offset` of the storage node `node`
    kZero,     ///< reads as zeroes
    kEncoded,  ///< format node `node` decodes its guest range at `offset`
  };
  Kind kind = Kind::kZero;
  GraphNode* node = nullptr;
  uint64_t offset = 0;
  uint64_t length = 0;  ///< how much of the range this holds for, at least 1
  Encoded encoded;
};

/// Walks down with what is resident. Empty: some layer has to load metadata. No I/O, no lock.
/// The caller is inside an epoch.
std::optional<Target> resolve_now(GraphNode& node, ByteRange range) noexcept;

/// Walks down, loading metadata where needed.
Task<Result<Target>> resolve(GraphNode& node, ByteRange range);

/// True if all of `range` reads as zeroes by what the layers say; loads metadata, reads no data.
Task<Result<bool>> reads_as_zeroes(GraphNode& node, ByteRange range);

}  // namespace ashlar::request
