// The prepared images.
#include "testing/prepared_images.h"

#include <algorithm>

#include "testing/qcow2_builder.h"
#include "testing/seeded_random.h"

namespace ashlar {

namespace {

using Kind = BlockOperation::Kind;

constexpr uint64_t kClusters = 12;

std::vector<std::byte> noise(uint64_t size, uint64_t seed) {
  std::vector<std::byte> bytes(size);
  SeededRandom(seed).fill(bytes);
  return bytes;
}

Qcow2Shape small_shape() {
  Qcow2Shape shape;
  shape.cluster_bits = 9;
  shape.size = kClusters * shape.cluster_size();
  return shape;
}

/// Clusters 0 to 5 have something, as far as the version and the entries know it.
void age(Qcow2Builder& builder, const Qcow2Shape& shape) {
  const uint64_t size = shape.cluster_size();
  builder.add_normal(0, noise(size, 1));
  if (shape.version >= 3) {
    builder.add_zero(1);
    builder.add_zero_with_room(2, noise(size, 2));
  }
  builder.add_compressed(3, compressible_bytes(size, 3));
  builder.add_compressed(4, compressible_bytes(size, 4));
  builder.add_normal(5, noise(size, 5));
}

PreparedImage finish(std::string name, const Qcow2Shape& shape, Qcow2Builder& builder) {
  PreparedImage image{std::move(name), shape, {}};
  image.files.image = builder.finish();
  if (shape.backing == Qcow2Shape::Backing::kNamed) {
    // It ends inside, so that there is something of each to see.
    const uint64_t size = shape.size - shape.cluster_size() - 512;
    image.files.backing.emplace(size);
    image.files.backing->write(0, noise(size, 6));
  }
  return image;
}

PreparedImage aged(std::string name, const Qcow2Shape& shape) {
  Qcow2Builder builder(shape);
  age(builder, shape);
  return finish(std::move(name), shape, builder);
}

PreparedImage shared(std::string name, const Qcow2Shape& shape) {
  Qcow2Builder builder(shape);
  age(builder, shape);
  builder.take_snapshot();
  return finish(std::move(name), shape, builder);
}

/// The next few clusters are the last ones that the refcount table can count.
PreparedImage nearly_full() {
  Qcow2Shape shape = small_shape();
  shape.refcount_order = 6;
  Qcow2Builder builder(shape);
  builder.add_normal(0, noise(shape.cluster_size(), 1));
  constexpr uint64_t kCounted = 64 * 64;
  constexpr uint64_t kUsedOtherwise = 5 + 64;
  builder.add_leaks(kCounted - kUsedOtherwise - 3);
  return finish("refcount table nearly full", shape, builder);
}

}  // namespace

std::vector<PreparedImage> prepared_images() {
  std::vector<PreparedImage> images;
  const Qcow2Shape small = small_shape();
  Qcow2Builder nothing(small);
  images.push_back(finish("fresh", small, nothing));
  images.push_back(aged("aged", small));
  images.push_back(shared("shared", small));

  Qcow2Shape overlay = small;
  overlay.backing = Qcow2Shape::Backing::kNamed;
  images.push_back(aged("overlay", overlay));

  Qcow2Shape extended = small;
  extended.entries = Qcow2Shape::Entries::kExtended;
  extended.cluster_bits = 14;
  extended.size = 4 * extended.cluster_size();
  extended.backing = Qcow2Shape::Backing::kNamed;
  Qcow2Builder parts(extended);
  parts.add_normal(0, noise(extended.cluster_size(), 1));
  parts.add_zero_with_room(1, noise(extended.cluster_size(), 2));
  parts.add_compressed(2, compressible_bytes(extended.cluster_size(), 3));
  images.push_back(finish("extended entries", extended, parts));

  images.push_back(nearly_full());

  Qcow2Shape wide = small;
  wide.cluster_bits = 12;
  wide.size = kClusters * wide.cluster_size();
  images.push_back(aged("clusters of 4096", wide));

  Qcow2Shape old = small;
  old.version = 2;
  images.push_back(aged("version 2", old));
  old.backing = Qcow2Shape::Backing::kNamed;
  images.push_back(aged("version 2 overlay", old));

  Qcow2Shape narrow = small;
  narrow.refcount_order = 0;
  images.push_back(aged("refcounts of one bit", narrow));

  images.push_back(shared("shared, blocks of 4096", small));
  images.back().disk_alignment = 4096;
  return images;
}

std::vector<BlockOperation> meeting_operations(const Qcow2Shape& shape) {
  const uint64_t size = shape.cluster_size();
  const uint64_t half = std::max<uint64_t>(size / 2, 512);
  // Small clusters: more than one L2 table covers.
  const uint64_t larger = shape.size + std::max<uint64_t>(2 * size, 40_KiB);
  std::vector<BlockOperation> list{
      {Kind::kWrite, {half, 2 * size}, 101},
      {Kind::kWrite, {2 * size, size + half}, 102},
      {Kind::kZeroUnmap, {0, 2 * size}},
      {Kind::kZero, {size, 2 * size + half}},
      {Kind::kDiscard, {0, 4 * size}},
      {Kind::kFlush},
      {Kind::kResize, {larger, 0}},
      {Kind::kResize, {size + half, 0}},
      {Kind::kCompressed, {2 * size, 2 * size}, 103},
      {Kind::kZeroThrough, {size, size}},
  };
  return list;
}

}  // namespace ashlar
