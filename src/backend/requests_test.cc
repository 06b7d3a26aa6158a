// Requests of a backend: what is refused, what waits, what is counted.
#include <gtest/gtest.h>

#include <array>

#include "async/on_loop.h"
#include "testing/graph_world.h"

namespace ashlar {
namespace {

constexpr Permissions kReadWrite = Permission::kConsistentRead | Permission::kWrite;

/// A backend on a file of 1 KiB of 'x', called "disk".
BackendRef make_backend(WorldGraph& world, std::string_view name = "disk") {
  world.world().files["disk"] = make_file(1024, 'x');
  const Result<NodeRef> node = world.open(
      R"({"driver":"raw","node-name":"raw","file":{"driver":"memory","filename":"disk"}})");
  Result<BackendRef> backend = world.graph().create_backend(name);
  EXPECT_TRUE((*backend)->set_permissions(kReadWrite, Permissions::all()));
  EXPECT_TRUE(world.wait((*backend)->insert_medium(*node)));
  return *backend;
}

TEST(Backend, HasNoSizeAndTakesNoRequestsWithoutAMedium) {
  WorldGraph world;
  const Result<BackendRef> backend = world.graph().create_backend("empty");
  Backend& empty = **backend;
  EXPECT_EQ(empty.size().error().code(), ErrorCode::kNoMedium);
  EXPECT_EQ(world.read(empty, {0, 1}).error().code(), ErrorCode::kNoMedium);
  EXPECT_EQ(world.write(empty, 0, "x").error().code(), ErrorCode::kNoMedium);
  EXPECT_EQ(world.wait(empty.flush()).error().code(), ErrorCode::kNoMedium);
  EXPECT_EQ(world.wait(empty.discard({0, 1})).error().code(), ErrorCode::kNoMedium);
  EXPECT_EQ(world.wait(empty.write_zeroes({0, 1}, {})).error().code(), ErrorCode::kNoMedium);
  EXPECT_EQ(world.wait(empty.status({0, 1}, 0)).error().code(), ErrorCode::kNoMedium);
  EXPECT_EQ(world.wait(empty.resize(5, {})).error().code(), ErrorCode::kNoMedium);
  EXPECT_FALSE(empty.writable());
  EXPECT_EQ(empty.root(), nullptr);
}

TEST(Backend, ReadsAndWritesItsMedium) {
  WorldGraph world;
  const BackendRef disk = make_backend(world);
  ASSERT_TRUE(world.write(*disk, 10, "hello"));
  EXPECT_EQ(world.read(*disk, {9, 7}).value(), "xhellox");
  ASSERT_TRUE(world.wait(disk->write_zeroes({11, 3}, {})));
  EXPECT_EQ(world.read(*disk, {10, 5}).value(), std::string("h\0\0\0o", 5));
  EXPECT_TRUE(world.wait(disk->flush()));
  EXPECT_TRUE(world.wait(disk->discard({0, 512})));
  const Result<Extent> extent = world.wait(disk->status({0, 1024}, 0));
  ASSERT_TRUE(extent);
  EXPECT_TRUE(extent->data);
}

TEST(Backend, RefusesWhatReachesPastTheEnd) {
  WorldGraph world;
  const BackendRef disk = make_backend(world);
  EXPECT_TRUE(world.read(*disk, {1024, 0}));
  for (const ByteRange& range : {ByteRange{1024, 1}, {1000, 25}, {~uint64_t{0}, 2}, {5000, 0}}) {
    EXPECT_EQ(world.wait(disk->discard(range)).error().code(), ErrorCode::kOutOfRange);
    EXPECT_EQ(world.wait(disk->write_zeroes(range, {})).error().reason(), "request-range");
    EXPECT_EQ(world.wait(disk->status(range, 0)).error().code(), ErrorCode::kOutOfRange);
  }
  EXPECT_EQ(world.read(*disk, {1020, 5}).error().code(), ErrorCode::kOutOfRange);
  EXPECT_EQ(world.write(*disk, 1020, "12345").error().code(), ErrorCode::kOutOfRange);
  EXPECT_EQ(disk->size().value(), 1024u);
}

TEST(Backend, WritesOnlyWhenThatWasAskedFor) {
  WorldGraph world;
  const BackendRef disk = make_backend(world);
  ASSERT_TRUE(disk->set_permissions(Permission::kConsistentRead, Permissions::all()));
  EXPECT_FALSE(disk->writable());
  EXPECT_EQ(world.write(*disk, 0, "x").error().reason(), "backend-read-only");
  EXPECT_EQ(world.wait(disk->write_zeroes({0, 1}, {})).error().code(), ErrorCode::kReadOnly);
  EXPECT_EQ(world.wait(disk->discard({0, 1})).error().code(), ErrorCode::kReadOnly);
  EXPECT_TRUE(world.wait(disk->flush()));
  ASSERT_TRUE(disk->set_permissions(kReadWrite, Permissions::all()));
  EXPECT_TRUE(disk->writable());
}

TEST(Backend, CountsRequestsAndBytesThatSucceeded) {
  WorldGraph world;
  const BackendRef disk = make_backend(world);
  (void)world.read(*disk, {0, 100});
  (void)world.read(*disk, {0, 2000});
  (void)world.write(*disk, 0, "1234");
  (void)world.wait(disk->write_zeroes({0, 8}, {}));
  (void)world.wait(disk->discard({0, 512}));
  (void)world.wait(disk->flush());
  world.world().reads.arm(1);
  (void)world.read(*disk, {0, 100});
  world.world().writes.arm(1);
  (void)world.write(*disk, 0, "1234");
  const BackendStatistics counted = disk->statistics();
  EXPECT_EQ(counted.reads, 1u);
  EXPECT_EQ(counted.read_bytes, 100u);
  EXPECT_EQ(counted.writes, 1u);
  EXPECT_EQ(counted.zero_writes, 1u);
  EXPECT_EQ(counted.written_bytes, 12u);
  EXPECT_EQ(counted.discards, 1u);
  EXPECT_EQ(counted.discarded_bytes, 512u);
  EXPECT_EQ(counted.flushes, 1u);
  EXPECT_EQ(counted.failed_reads, 1u);
  EXPECT_EQ(counted.failed_writes, 1u);
}

TEST(Backend, FlushesAfterEveryWriteWithAWriteThroughCache) {
  WorldGraph world;
  const BackendRef disk = make_backend(world);
  world.world().writes.arm(0);  // counts writes and flushes
  ASSERT_TRUE(world.write(*disk, 0, "x"));
  EXPECT_EQ(world.world().writes.seen(), 1u);
  disk->set_write_cache(Backend::WriteCache::kThrough);
  ASSERT_TRUE(world.write(*disk, 0, "x"));
  EXPECT_EQ(world.world().writes.seen(), 3u);
  world.world().writes.arm(2);
  EXPECT_FALSE(world.write(*disk, 0, "x"));  // a flush that fails is a write that fails
}

TEST(Backend, ResizesItsMediumAndTakesThePermissionOnlyMeanwhile) {
  WorldGraph world;
  const BackendRef disk = make_backend(world);
  ASSERT_TRUE(world.wait(disk->resize(2048, {})));
  EXPECT_EQ(disk->size().value(), 2048u);
  EXPECT_TRUE(world.write(*disk, 2000, "end"));
  const BackendRef other = *world.graph().create_backend();
  ASSERT_TRUE(other->set_permissions(Permission::kConsistentRead, kReadWrite));
  ASSERT_TRUE(world.wait(other->insert_medium(NodeRef(disk->root()))));
  const Result<void> refused = world.wait(disk->resize(512, {}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), "permission-conflict");
  EXPECT_EQ(disk->size().value(), 2048u);
}

TEST(Backend, TellsAllAboveAResizedNode) {
  struct Device final : DeviceCallbacks {
    std::string describe() const override { return "device"; }
    void resized(uint64_t size) override { sizes.push_back(size); }
    std::vector<uint64_t> sizes;
  };
  WorldGraph world;
  const BackendRef disk = make_backend(world);
  const BackendRef other = *world.graph().create_backend();
  ASSERT_TRUE(world.wait(other->insert_medium(NodeRef(disk->root()))));
  Device one, two;
  ASSERT_TRUE(disk->attach_device(one, Backend::Origin::kIndependent));
  ASSERT_TRUE(other->attach_device(two, Backend::Origin::kIndependent));
  ASSERT_TRUE(world.wait(disk->resize(4096, {})));
  ASSERT_TRUE(world.wait(disk->resize(4096, {})));  // to the same size: nothing to tell
  EXPECT_EQ(one.sizes, std::vector<uint64_t>{4096});
  EXPECT_EQ(two.sizes, std::vector<uint64_t>{4096});
  disk->detach_device();
  other->detach_device();
}

TEST(Backend, ResizesFromAnyLoop) {
  WorldGraph::Settings settings;
  settings.loops = 2;
  WorldGraph world(settings);
  const BackendRef disk = make_backend(world);
  OnLoop<Result<void>> there(world.runtime().loop(1), disk->resize(4096, {}));
  struct Steps {
    static Task<void> run(OnLoop<Result<void>>& there) {
      const Result<void> resized = co_await there;
      EXPECT_TRUE(resized);
    }
  };
  world.wait(Steps::run(there));
  EXPECT_EQ(disk->size().value(), 4096u);
}

TEST(Backend, DoesNotLetAGuessedRawDiskBecomeAnImage) {
  WorldGraph world;
  world.world().files["plain"] = make_file(16384);
  const auto image = make_layer(8192);
  const std::string header(reinterpret_cast<const char*>(image->bytes.data()), 4096);
  for (const bool named : {false, true}) {
    Result<NodeRef> node = named ? world.open_image("plain", "raw") : world.open_image("plain");
    const BackendRef disk = *world.graph().create_backend();
    ASSERT_TRUE(disk->set_permissions(kReadWrite, Permissions::all()));
    ASSERT_TRUE(world.wait(disk->insert_medium(*node)));
    const Result<void> whole = world.write(*disk, 0, header);
    EXPECT_EQ(whole.has_value(), named);
    EXPECT_EQ(named ? "" : whole.error().reason(), named ? "" : "guessed-raw-header");
    ASSERT_TRUE(world.wait(disk->write_zeroes({0, 4096}, {})));
    ASSERT_TRUE(world.write(*disk, 4, header.substr(4)));
    EXPECT_EQ(world.write(*disk, 0, header.substr(0, 4)).has_value(), named);  // piece by piece
    ASSERT_TRUE(world.wait(disk->write_zeroes({0, 4096}, {})));
    EXPECT_TRUE(world.write(*disk, 0, "harmless"));
  }
}

}  // namespace
}  // namespace ashlar
