// What qcow2 images do with space: freed clusters come back, growing shows nothing old.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "async/sync.h"
#include "testing/block_operation.h"
#include "testing/prepared_images.h"
#include "testing/qcow2_builder.h"
#include "testing/recorded_history.h"
#include "testing/simulated_image.h"

namespace ashlar {
namespace {

using Kind = BlockOperation::Kind;

Qcow2Shape small_shape() {
  Qcow2Shape shape;
  shape.cluster_bits = 12;
  shape.size = 64 * shape.cluster_size();
  return shape;
}

ImageFiles fresh(const Qcow2Shape& shape) {
  ImageFiles files;
  files.image = Qcow2Builder(shape).finish();
  return files;
}

/// Discards and rewrites everything again and again.
Task<Result<void>> churn(SimulatedImage& image, const Qcow2Shape& shape, int rounds) {
  Result<void> done = co_await image.open();
  for (int round = 0; done && round < rounds; ++round) {
    const auto seed = static_cast<uint64_t>(round);
    const Kind kind = round % 2 == 0 ? Kind::kWrite : Kind::kCompressed;
    for (const BlockOperation& operation :
         {BlockOperation{Kind::kDiscard, {0, shape.size}, 0}, BlockOperation{Kind::kFlush, {}, 0},
          BlockOperation{kind, {0, shape.size}, seed}, BlockOperation{Kind::kFlush, {}, 0}}) {
      if (done) done = co_await perform(image.backend(), operation, {});
    }
  }
  const Result<void> closed = co_await image.close();
  co_return done ? closed : done;
}

TEST(Qcow2Space, StaysBoundedHoweverOftenEverythingIsReplaced) {
  const Qcow2Shape shape = small_shape();
  SimulatedImage image({.seed = 1}, fresh(shape));
  const Result<void> done = sync_wait(image.runtime(), churn(image, shape, 60));
  ASSERT_TRUE(done) << done.error().message();
  // The old and the new contents at a time, and some for those that wait for their epoch.
  EXPECT_LE(image.disk().size(), 4 * shape.size);
  EXPECT_EQ(image.audit().leaks(), 0u);
}

/// Closes one image of a graph while a request to another one, which was there first, is in flight.
Task<Result<void>> close_beside_a_busy_one(SimulatedImage& image) {
  Result<void> done = co_await image.open();
  if (!done) co_return done;
  image.runtime().attach_disk("busy", std::make_shared<SimulatedDisk>(1_MiB));
  const OptionDict options =
      *OptionDict::parse_key_value("driver=simulated-disk,disk=busy,longest-ns=100000000000000");
  Result<NodeRef> node = co_await image.graph().open(options);
  if (!node) co_return fail(node.error());
  BackendRef busy = *image.graph().create_backend();
  done = co_await busy->insert_medium(std::move(*node));
  if (!done) co_return done;
  std::vector<std::byte> memory(512);
  struct Reader {
    static Task<void> read(Backend& backend, std::span<std::byte> into) {
      const BlockOperation operation{Kind::kRead, {0, 512}, 0};
      static_cast<void>(co_await perform(backend, operation, into));
    }
  };
  Scope scope;
  scope.spawn(Reader::read(*busy, memory));
  const BlockOperation write{Kind::kWrite, {0, 64_KiB}, 1};
  const BlockOperation discard{Kind::kDiscard, {0, 32_KiB}, 0};
  done = co_await perform(image.backend(), write, {});
  if (done) done = co_await perform(image.backend(), discard, {});
  if (done) done = co_await image.backend().eject_medium(Backend::Eject::kForce);
  co_await image.graph().settle();
  const uint64_t leaks = image.audit().leaks();
  co_await scope.join();
  busy = BackendRef();
  const Result<void> closed = co_await image.close();
  if (leaks != 0) co_return fail(ErrorCode::kCorrupt, std::to_string(leaks) + " leaks");
  co_return done ? closed : done;
}

TEST(Qcow2Space, ClosingFreesEverythingWhileTheGraphIsBusy) {
  SimulatedImage image({.seed = 1}, fresh(small_shape()));
  const Result<void> done = sync_wait(image.runtime(), close_beside_a_busy_one(image));
  EXPECT_TRUE(done) << done.error().message();
}

Task<Result<void>> grow_with_metadata(SimulatedImage& image, uint64_t size) {
  Result<void> done = co_await image.open();
  ResizeFlags flags;
  flags.preallocation = Preallocation::kMetadata;
  if (done) done = co_await image.backend().resize(size, flags);
  const Result<void> closed = co_await image.close();
  co_return done ? closed : done;
}

TEST(Qcow2Space, PreallocatingKeepsTheBackingFileVisibleInTheLastCluster) {
  Qcow2Shape shape = small_shape();
  shape.backing = Qcow2Shape::Backing::kNamed;
  shape.size = 3 * shape.cluster_size() + 512;
  ImageFiles files = fresh(shape);
  files.backing.emplace(shape.size);
  const std::vector<std::byte> mark(512, std::byte{0x5a});
  files.backing->write(shape.size - 512, mark);
  SimulatedImage image({.seed = 1}, files);
  const Result<void> done =
      sync_wait(image.runtime(), grow_with_metadata(image, 8 * shape.cluster_size()));
  ASSERT_TRUE(done) << done.error().message();
  std::vector<std::byte> read(512);
  image.audit().read(shape.size - 512, read, image.beside());
  EXPECT_EQ(read, mark);
}

TEST(Qcow2Space, PunchesOutNothingThatCompressedNeighboursStillUse) {
  const Qcow2Shape shape = small_shape();
  const uint64_t size = shape.cluster_size();
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    RecordedHistory::Plan plan{.shape = shape, .files = fresh(shape), .operations = {}};
    plan.setup.seed = seed;
    plan.operations.push_back({Kind::kCompressed, {0, 16 * size}, 6 * seed + 1});
    for (uint64_t cluster = 0; cluster < 16; cluster += 2) {
      plan.operations.push_back({Kind::kDiscard, {cluster * size, size}, 0});
      plan.operations.push_back({Kind::kFlush, {}, 0});
      plan.operations.push_back({Kind::kCompressed, {(16 + cluster) * size, size}, 6 * seed + 2});
    }
    plan.depth = 1 + static_cast<unsigned>(seed % 3);
    RecordedHistory recorded(std::move(plan));
    ASSERT_EQ(recorded.run(), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace ashlar
