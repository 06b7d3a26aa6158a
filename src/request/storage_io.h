// Reading and writing storage nodes: alignment, bounce buffers, read-modify-write, FUA, growth.
#pragma once

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/request.h"
#include "ashlar/task.h"

namespace ashlar {
class GraphNode;
}  // namespace ashlar

namespace ashlar::request {

/// Reads `range`, which lies inside the device.
Task<Result<void>> read_storage(GraphNode& node, ByteRange range, MutableBuffers into);
/// Writes `range`; past the end where the device can grow.
Task<Result<void>> write_storage(GraphNode& node, ByteRange range, ConstBuffers from,
                                 WriteFlags flags);
/// Whether the driver can take a request as it is.
bool fits_driver(const GraphNode& node, ByteRange range, ConstBuffers buffers) noexcept;

/// Checks that `range` may be written: inside the device, or the device can grow.
Result<void> check_write_end(const GraphNode& node, ByteRange range);

}  // namespace ashlar::request
