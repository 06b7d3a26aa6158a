// Small qcow2 images with clusters of every kind, each with what makes it special: for tests that
// try all short histories on all of them.
#pragma once

#include <string>
#include <vector>

#include "testing/block_operation.h"
#include "testing/qcow2_shape.h"
#include "testing/simulated_image.h"

namespace ashlar {

struct PreparedImage {
  std::string name;
  Qcow2Shape shape;
  ImageFiles files{};
  uint64_t disk_alignment = 1;
};

/// Fresh ones, aged ones (a normal cluster, zeroes with and without room, compressed ones), with a
/// snapshot, a backing file, extended entries, one-bit refcounts, a full refcount table ...
std::vector<PreparedImage> prepared_images();

/// One of each kind of request, placed so that they meet in the first clusters of such an image.
std::vector<BlockOperation> meeting_operations(const Qcow2Shape& shape);

}  // namespace ashlar
