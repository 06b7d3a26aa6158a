// The request layer: one reader and one writer for every node. Splits, aligns, bounces, walks
// chains, serialises, falls back. Ranges have been checked against the device by the caller.
#pragma once

#include <optional>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/request.h"
#include "ashlar/task.h"

namespace ashlar {
class GraphNode;
}  // namespace ashlar

namespace ashlar::request {

/// Reads `range` of `node`. Bytes past its end read as zeroes: formats rely on it for short files.
Task<Result<void>> read(GraphNode& node, ByteRange range, MutableBuffers into);

/// read() if it needs no waiting anywhere: everything resident, nothing to suspend on.
std::optional<Result<void>> read_now(GraphNode& node, ByteRange range,
                                     MutableBuffers into) noexcept;
std::optional<Result<void>> write_now(GraphNode& node, ByteRange range, ConstBuffers from) noexcept;

/// Writes. Past the end only where NodeInfo::End::kGrows; then the device grows.
Task<Result<void>> write(GraphNode& node, ByteRange range, ConstBuffers from, WriteFlags flags);
/// write() that leaves zeroes as they are, also where the node was opened to detect them.
Task<Result<void>> write_bytes(GraphNode& node, ByteRange range, ConstBuffers from,
                               WriteFlags flags);
Task<Result<void>> write_zeroes(GraphNode& node, ByteRange range, ZeroFlags flags);
/// Writes bytes that are zero, whatever else the node could do.
Task<Result<void>> write_zero_bytes(GraphNode& node, ByteRange range, WriteFlags flags);
/// Ignored where the node was opened with Discard::kIgnore.
Task<Result<void>> discard(GraphNode& node, ByteRange range);
Task<Result<void>> reserve(GraphNode& node, ByteRange range);
Task<Result<void>> flush(GraphNode& node);
/// Whether nothing that was written to `node` depends on the memory of this process.
bool settled(const GraphNode& node) noexcept;
Task<Result<void>> settle(GraphNode& node);
Task<Result<void>> resize(GraphNode& node, uint64_t size, ResizeFlags flags);

/// Status of the start of `range`, looking at the first `layers` layers of the chain (0: all).
/// The caller is inside an epoch (see EpochDomain) or owns the chain.
Task<Result<Extent>> status(GraphNode& node, ByteRange range, unsigned layers);

}  // namespace ashlar::request
