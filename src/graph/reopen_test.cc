// Reopening: all of several changes or none, and what children take over.
#include <gtest/gtest.h>

#include "graph/graph_node.h"
#include "testing/graph_world.h"

namespace ashlar {
namespace {

constexpr Permissions kReadWrite = Permission::kConsistentRead | Permission::kWrite;

Result<void> reopen(WorldGraph& world, std::vector<std::string_view> changes) {
  std::vector<OptionDict> dicts;
  for (std::string_view json : changes) dicts.push_back(*OptionDict::parse_json(json));
  return world.wait(world.graph().reopen(std::move(dicts)));
}

NodeRef read_only_layer(WorldGraph& world) {
  world.world().files["f"] = make_layer(8192, "base", "raw");
  world.world().files["base"] = make_file(8192, 'b');
  return *world.open(R"({"driver":"layer","node-name":"top","read-only":true,
      "file":{"driver":"memory","filename":"f","node-name":"file"},
      "backing":{"node-name":"base"}})");
}

bool read_only(WorldGraph& world, const char* node) {
  return world.graph().find_node(node)->flags().read_only;
}

TEST(Reopen, MakesAnImageAndItsFileWritable) {
  WorldGraph world;
  const NodeRef top = read_only_layer(world);
  const Result<BackendRef> backend = world.graph().create_backend();
  ASSERT_TRUE(world.wait((*backend)->insert_medium(top)));
  EXPECT_FALSE((*backend)->set_permissions(kReadWrite, Permissions::all()));
  ASSERT_TRUE(reopen(world, {R"({"node-name":"top","read-only":false})"}));
  EXPECT_FALSE(read_only(world, "top"));
  EXPECT_FALSE(read_only(world, "file"));
  EXPECT_TRUE(read_only(world, "base"));  // backing images stay as they are
  ASSERT_TRUE((*backend)->set_permissions(kReadWrite, Permissions::all()));
  ASSERT_TRUE(world.write(**backend, 0, "new"));
  EXPECT_EQ(world.world().files["f"]->locks[0].used, kReadWrite | Permission::kResize);
}

TEST(Reopen, KeepsWhatAChildWasGivenByItself) {
  WorldGraph world;
  world.world().files["f"] = make_file(512);
  const Result<NodeRef> top = world.open(R"({"driver":"raw","node-name":"top","read-only":true,
      "file":{"driver":"memory","filename":"f","node-name":"file","cache.direct":true,
      "read-only":true}})");
  ASSERT_TRUE(reopen(world, {R"({"node-name":"top","read-only":false,"cache.no-flush":true})"}));
  EXPECT_TRUE(read_only(world, "file"));
  EXPECT_TRUE((*top)->primary()->flags().cache_direct);
  EXPECT_TRUE((*top)->primary()->flags().cache_no_flush);
}

TEST(Reopen, IsRefusedWhileSomebodyWrites) {
  WorldGraph world;
  const Result<NodeRef> node = world.open(R"({"driver":"memory","node-name":"n","size":512})");
  const Result<BackendRef> backend = world.graph().create_backend();
  ASSERT_TRUE((*backend)->set_permissions(kReadWrite, Permissions::all()));
  ASSERT_TRUE(world.wait((*backend)->insert_medium(*node)));
  const Result<void> refused = reopen(world, {R"({"node-name":"n","read-only":true})"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), "node-read-only");
  EXPECT_FALSE(read_only(world, "n"));
  EXPECT_EQ(world.world().reopens_pending, 0u);
  EXPECT_TRUE(world.write(**backend, 0, "x"));
}

TEST(Reopen, ChangesAllNodesOrNoneWhereverItFails) {
  for (FailNth GraphWorld::* const what : {&GraphWorld::reopens, &GraphWorld::permissions}) {
    WorldGraph world;
    const NodeRef top = read_only_layer(world);
    const Result<NodeRef> other =
        world.open(R"({"driver":"memory","node-name":"other","read-only":true,"size":512})");
    uint64_t steps = 1000;
    for (uint64_t nth = 1; nth <= steps; ++nth) {
      (world.world().*what).arm(nth);
      const Result<void> changed = reopen(world, {R"({"node-name":"other","read-only":false})",
                                                  R"({"node-name":"top","read-only":false})"});
      if (changed) steps = (world.world().*what).seen();
      for (const char* node : {"top", "file", "other"}) {
        EXPECT_EQ(read_only(world, node), !changed) << node << " " << nth;
      }
      EXPECT_EQ(world.world().reopens_pending, 0u);
    }
    EXPECT_LT(steps, 1000u);
    EXPECT_FALSE(read_only(world, "top"));
  }
}

TEST(Reopen, ChangesAndDropsBackingImages) {
  WorldGraph world;
  const NodeRef top = read_only_layer(world);
  world.world().files["other"] = make_file(8192, 'o');
  const Result<NodeRef> other =
      world.open(R"({"driver":"memory","filename":"other","node-name":"other"})");
  const Result<BackendRef> backend = world.graph().create_backend();
  ASSERT_TRUE(world.wait((*backend)->insert_medium(top)));
  ASSERT_TRUE(reopen(world, {R"({"node-name":"top","backing":"other"})"}));
  EXPECT_EQ(world.read(**backend, {0, 2}).value(), "oo");
  EXPECT_EQ(world.graph().find_node("base"), nullptr);  // nobody else used it
  ASSERT_TRUE(reopen(world, {R"({"node-name":"top","backing":null})"}));
  EXPECT_EQ(world.read(**backend, {0, 2}).value(), std::string(2, '\0'));
  ASSERT_TRUE(reopen(world, {R"({"node-name":"top","backing":"other"})"}));
  EXPECT_EQ(world.read(**backend, {0, 2}).value(), "oo");
}

TEST(Reopen, ReachesChildrenByTheirNameInTheParent) {
  WorldGraph world;
  const NodeRef top = read_only_layer(world);
  ASSERT_TRUE(reopen(world, {R"({"node-name":"top","file":{"cache":{"direct":true}}})"}));
  EXPECT_TRUE(top->primary()->flags().cache_direct);
  EXPECT_FALSE(top->flags().cache_direct);
}

TEST(Reopen, DoesNotForgetThatAFormatWasGuessed) {
  WorldGraph world;
  world.world().files["plain"] = make_file(8192);
  const Result<NodeRef> node = world.open_image("plain");
  OptionDict change;
  change.set("node-name", (*node)->name());
  change.set("cache.direct", std::string("on"));
  std::vector<OptionDict> changes{change};
  ASSERT_TRUE(world.wait(world.graph().reopen(std::move(changes))));
  EXPECT_TRUE((*node)->flags().cache_direct);
  EXPECT_TRUE((*node)->flags().probed);
}

TEST(Reopen, SaysWhatItCannotChange) {
  WorldGraph world;
  const NodeRef top = read_only_layer(world);
  EXPECT_EQ(reopen(world, {R"({"node-name":"x"})"}).error().reason(), "node-not-found");
  EXPECT_EQ(reopen(world, {R"({"read-only":true})"}).error().reason(), "node-not-found");
  EXPECT_EQ(reopen(world, {R"({"node-name":"top","driver":"raw"})"}).error().reason(),
            "reopen-driver");
  EXPECT_EQ(reopen(world, {R"({"node-name":"top","x":1})"}).error().reason(), "option-unknown");
  EXPECT_EQ(reopen(world, {R"({"node-name":"top","file.node-name":"y"})"}).error().reason(),
            "reopen-child");
  EXPECT_EQ(reopen(world, {R"({"node-name":"base","backing":"top"})"}).error().reason(),
            "option-unknown");
}

TEST(Reopen, WaitsForRequestsInFlight) {
  WorldGraph world;
  const Result<NodeRef> node = world.open(R"({"driver":"memory","node-name":"n","size":512})");
  const Result<BackendRef> backend = world.graph().create_backend();
  ASSERT_TRUE(world.wait((*backend)->insert_medium(*node)));
  struct Steps {
    static Task<void> read(Backend& backend, bool& done) {
      std::array<std::byte, 4> bytes;
      const MutableBuffers into(bytes.data(), bytes.size());
      const Result<void> result = co_await backend.read({0, 4}, into);
      done = result.has_value();
    }
    static Task<void> run(WorldGraph& world, Backend& backend) {
      bool done = false;
      Scope scope;
      co_await world.world().requests.close();
      scope.spawn(read(backend, done));
      std::vector<OptionDict> changes{
          *OptionDict::parse_json(R"({"node-name":"n","detect-zeroes":"on"})")};
      scope.spawn(reopen_task(world, std::move(changes), done));
      for (int i = 0; i < 20; ++i) co_await yield();
      EXPECT_EQ(world.graph().find_node("n")->flags().detect_zeroes, OpenFlags::DetectZeroes::kOff);
      world.world().requests.open();
      co_await scope.join();
    }
    static Task<void> reopen_task(WorldGraph& world, std::vector<OptionDict> changes, bool& done) {
      const Result<void> changed = co_await world.graph().reopen(std::move(changes));
      EXPECT_TRUE(changed);
      EXPECT_TRUE(done);
    }
  };
  world.wait(Steps::run(world, **backend));
}

}  // namespace
}  // namespace ashlar
