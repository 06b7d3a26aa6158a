// The dirty bitmaps of a node between its image and memory.
#pragma once

#include <cstdint>
#include <string>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "graph/bitmap_keeper.h"

namespace ashlar {

class GraphNode;

/// Where the image of `node` keeps bitmaps up to date; null: nowhere.
BitmapKeeper* keeper_of(const GraphNode& node) noexcept;

/// Loads what the image keeps, in the place of persistent bitmaps that are in memory. Those of a
/// node that can be written are kept up to date from then on. What cannot be read counts as
/// inconsistent, as does what needs more than TrackedBitmap::kMaxBytes altogether.
/// Requests are drained.
Task<Result<void>> load_bitmaps(GraphNode& node);
/// Loads them if the image is open to write.
Task<Result<void>> load_written_bitmaps(GraphNode& node);

/// Saves persistent bitmaps in the image where that says something else. Requests are drained.
Task<Result<void>> save_bitmaps(GraphNode& node);

/// Something is about to be done to a persistent bitmap: what the image says of it will not do for
/// right after a crash. Requests are drained.
Task<Result<void>> mark_bitmaps(GraphNode& node);

}  // namespace ashlar
