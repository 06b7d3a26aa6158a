// Guests must not turn a disk whose format was guessed into an image of another format.
#pragma once

#include "ashlar/bytes.h"
#include "graph/graph_node.h"

namespace ashlar {

/// Whether writing `range` could change what `node` is taken for the next time it is opened: it was
/// guessed as a format that claims whatever no other does.
bool may_change_guess(const GraphNode& node, ByteRange range) noexcept;

/// Writes `range` unless the format of what is there then is another one. The caller sees to it
/// that these writes come one after the other.
/// Errors: kPermission "guessed-raw-header" {format}.
Task<Result<void>> write_guessed(GraphNode& node, ByteRange range, ConstBuffers from,
                                 WriteFlags flags);

}  // namespace ashlar
