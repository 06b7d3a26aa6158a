// Permissions: who excludes whom, and changes that leave everything as it was when they fail.
#include <gtest/gtest.h>

#include "graph/graph_node.h"
#include "testing/graph_world.h"

namespace ashlar {
namespace {

constexpr Permissions kRead = Permission::kConsistentRead;
constexpr Permissions kReadWrite = Permission::kConsistentRead | Permission::kWrite;
constexpr Permissions kNoChange = Permission::kConsistentRead | Permission::kWriteUnchanged;

/// Everything about the graph that permissions depend on.
std::string picture(WorldGraph& world) {
  std::string text;
  for (Node* node : world.graph().nodes()) {
    text += node->name() + (node->flags().read_only ? "(ro)" : "") + ":";
    for (const auto& edge : static_cast<GraphNode*>(node)->edges()) {
      text += " " + edge->name() + ">" + (edge->child() ? edge->child()->name() : "none") + " " +
              edge->used().describe() + "/" + edge->shared().describe();
    }
    text += "; ";
  }
  for (const auto& [name, file] : world.world().files) {
    text += name + "=";
    for (const WorldFile::Lock& lock : file->locks) {
      text += lock.used.describe() + "/" + lock.shared.describe();
    }
    text += "; ";
  }
  return text;
}

BackendRef backend_on(WorldGraph& world, const NodeRef& node, Permissions used,
                      Permissions shared) {
  Result<BackendRef> backend = world.graph().create_backend();
  EXPECT_TRUE((*backend)->set_permissions(used, shared));
  EXPECT_TRUE(world.wait((*backend)->insert_medium(node)));
  return *backend;
}

const std::vector<WorldFile::Lock>& locks_of(WorldGraph& world, const char* file) {
  return world.world().files[file]->locks;
}

TEST(Permissions, AreListedInWords) {
  EXPECT_EQ(Permissions::all().describe(), "consistent read, write, write unchanged, resize");
  EXPECT_EQ(Permissions::none().describe(), "nothing");
  EXPECT_EQ(kReadWrite.describe(), "consistent read, write");
}

TEST(Permissions, OfAWritableFormatExcludeOtherWriters) {
  WorldGraph world;
  world.world().files["f"] = make_layer(8192);
  const Result<NodeRef> one = world.open_image("f", "layer");
  ASSERT_EQ(locks_of(world, "f").size(), 1u);
  EXPECT_EQ(locks_of(world, "f")[0].used, kReadWrite | Permission::kResize);
  EXPECT_EQ(locks_of(world, "f")[0].shared, kNoChange);
  OpenFlags flags;
  flags.read_only = true;
  EXPECT_EQ(world.open_image("f", "layer", flags).error().reason(), "world-locked");
  flags.force_share = true;
  EXPECT_TRUE(world.open_image("f", "layer", flags));
}

TEST(Permissions, OfAReadOnlyFormatExcludeWriters) {
  WorldGraph world;
  world.world().files["f"] = make_layer(8192);
  OpenFlags flags;
  flags.read_only = true;
  const Result<NodeRef> one = world.open_image("f", "layer", flags);
  const Result<NodeRef> two = world.open_image("f", "layer", flags);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(locks_of(world, "f")[0].used, kRead);
  EXPECT_EQ(locks_of(world, "f")[0].shared, kNoChange);
  EXPECT_FALSE(world.open_image("f", "layer"));
}

TEST(Permissions, PassThroughWhatHasNoMetadata) {
  WorldGraph world;
  world.world().files["f"] = make_file(4096);
  const Result<NodeRef> raw =
      world.open(R"({"driver":"pass","file":{"driver":"raw","file.filename":"f"}})");
  EXPECT_TRUE(locks_of(world, "f").empty());  // nobody uses it
  BackendRef backend = backend_on(world, *raw, kReadWrite, kRead);
  ASSERT_EQ(locks_of(world, "f").size(), 1u);
  EXPECT_EQ(locks_of(world, "f")[0].used, kReadWrite);
  EXPECT_EQ(locks_of(world, "f")[0].shared, kRead);
  backend = BackendRef();
  world.wait(world.graph().settle());
  EXPECT_TRUE(locks_of(world, "f").empty());
}

TEST(Permissions, OfBackingImagesFollowWhatTheUserShares) {
  WorldGraph world;
  world.world().files["top"] = make_layer(8192, "base", "raw");
  world.world().files["base"] = make_file(8192);
  const Result<NodeRef> top = world.open_image("top", "layer");
  ASSERT_EQ(locks_of(world, "base").size(), 1u);
  EXPECT_EQ(locks_of(world, "base")[0].used, kRead);
  EXPECT_EQ(locks_of(world, "base")[0].shared, Permissions::all());
  const BackendRef guest = backend_on(world, *top, kReadWrite, kNoChange);
  EXPECT_EQ(locks_of(world, "base")[0].shared, kNoChange);
}

TEST(Permissions, NameBothUsersWhenTheyConflict) {
  WorldGraph world;
  const Result<NodeRef> base = world.open(R"({"driver":"memory","node-name":"n0","size":8192})");
  world.world().files["top"] = make_layer(8192);
  const Result<NodeRef> top =
      world.open(R"({"driver":"layer","node-name":"fmt","file.filename":"top","backing":"n0"})");
  ASSERT_TRUE(top) << top.error().message();
  const BackendRef guest = backend_on(world, *top, kReadWrite, kNoChange);
  const Result<BackendRef> writer = world.graph().create_backend("drive0");
  ASSERT_TRUE((*writer)->set_permissions(kReadWrite, Permissions::all()));
  const std::string before = picture(world);
  const Result<void> refused = world.wait((*writer)->insert_medium(*base));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
  EXPECT_EQ(refused.error().reason(), "permission-conflict");
  EXPECT_EQ(refused.error().message(),
            "backend \"drive0\" needs write on node \"n0\", which node "
            "\"fmt\" as \"backing\" does not allow");
  EXPECT_FALSE((*writer)->has_medium());
  EXPECT_EQ(picture(world), before);
}

TEST(Permissions, ToWriteAreRefusedOnReadOnlyNodes) {
  WorldGraph world;
  const Result<NodeRef> node =
      world.open(R"({"driver":"memory","node-name":"n","read-only":true,"size":512})");
  const Result<BackendRef> backend = world.graph().create_backend();
  ASSERT_TRUE((*backend)->set_permissions(kReadWrite, Permissions::all()));
  const Result<void> refused = world.wait((*backend)->insert_medium(*node));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kReadOnly);
  EXPECT_EQ(refused.error().reason(), "node-read-only");
  ASSERT_TRUE((*backend)->set_permissions(kRead, Permissions::all()));
  EXPECT_TRUE(world.wait((*backend)->insert_medium(*node)));
  EXPECT_FALSE((*backend)->set_permissions(kReadWrite, Permissions::all()));
  EXPECT_FALSE((*backend)->writable());
}

/// A filter over an overlay over two plain layers of storage: one change tells several drivers.
NodeRef open_tower(WorldGraph& world) {
  world.world().files["top"] = make_layer(8192);
  world.world().files["base"] = make_file(8192, 'b');
  Result<NodeRef> tower = world.open(R"({"driver":"pass","node-name":"tower","file":{
      "driver":"layer","node-name":"top","file.filename":"top","backing":{"driver":"raw",
      "node-name":"raw","file":{"driver":"pass","node-name":"pass","file":{"driver":"memory",
      "node-name":"base","filename":"base"}}}}})");
  EXPECT_TRUE(tower) << tower.error().message();
  return *tower;
}

TEST(Transaction, LeavesEverythingAsItWasWhereverADriverRefuses) {
  WorldGraph world;
  const NodeRef tower = open_tower(world);
  const Result<BackendRef> backend = world.graph().create_backend("b");
  ASSERT_TRUE((*backend)->set_permissions(kReadWrite, kNoChange));
  world.world().files["s"] = make_file(512);
  const Result<NodeRef> spare = world.open(R"({"driver":"memory","node-name":"s","filename":"s"})");
  ASSERT_TRUE(world.wait((*backend)->insert_medium(*spare)));
  const std::string before = picture(world);
  uint64_t steps = 1000;
  for (uint64_t nth = 1; nth <= steps; ++nth) {
    world.world().permissions.arm(nth);
    const Result<void> changed =
        world.wait((*backend)->change_medium(tower, Backend::Eject::kForce));
    if (changed) {
      steps = world.world().permissions.seen();
      break;
    }
    world.world().permissions.arm(0);
    EXPECT_EQ(changed.error().reason(), "world-locked");
    EXPECT_EQ(picture(world), before) << nth;
    EXPECT_EQ((*backend)->root(), spare->get());
    EXPECT_TRUE(world.write(**backend, 0, "still here"));
  }
  EXPECT_GE(steps, 2u);
  EXPECT_EQ((*backend)->root(), tower.get());
  EXPECT_NE(picture(world), before);
}

TEST(Transaction, OfPermissionsAloneIsTakenBackToo) {
  WorldGraph world;
  world.world().files["f"] = make_file(512);
  const Result<NodeRef> raw = world.open(
      R"({"driver":"raw","file":{"driver":"memory","filename":"f","refuse-write":true}})");
  const BackendRef backend = backend_on(world, *raw, kRead, kNoChange);
  const std::string before = picture(world);
  const Result<void> refused = backend->set_permissions(kReadWrite, kRead);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), "world-refused");
  EXPECT_EQ(picture(world), before);
  EXPECT_TRUE(backend->set_permissions(kRead, kRead));
}

}  // namespace
}  // namespace ashlar
