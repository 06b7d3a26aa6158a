// Replacing and removing nodes, and changing the backing of an overlay.
#include <gtest/gtest.h>

#include "graph/graph_node.h"
#include "testing/graph_world.h"

namespace ashlar {
namespace {

constexpr Permissions kReadWrite = Permission::kConsistentRead | Permission::kWrite;

BackendRef backend_on(WorldGraph& world, const NodeRef& node, std::string_view name = {}) {
  Result<BackendRef> backend = world.graph().create_backend(name);
  EXPECT_TRUE((*backend)->set_permissions(kReadWrite, Permissions::all()));
  EXPECT_TRUE(world.wait((*backend)->insert_medium(node)));
  return *backend;
}

NodeRef memory(WorldGraph& world, const std::string& name, uint8_t value, uint64_t size = 8192) {
  world.world().files[name] = make_file(size, value);
  return *world.open(R"({"driver":"memory","node-name":")" + name + R"(","filename":")" + name +
                     "\"}");
}

NodeRef overlay(WorldGraph& world, const std::string& name, const std::string& backing) {
  world.world().files[name] = make_layer(8192);
  return *world.open(R"({"driver":"layer","node-name":")" + name + R"(","file.filename":")" + name +
                     R"(","backing":)" + (backing.empty() ? "null" : "\"" + backing + "\"") + "}");
}

TEST(RemoveNode, IsRefusedWhileTheNodeIsUsed) {
  WorldGraph world;
  const NodeRef node = memory(world, "n", 'n');
  BackendRef backend = backend_on(world, node, "drive0");
  const Result<void> refused = world.wait(world.graph().remove_node("n"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
  EXPECT_EQ(refused.error().message(), "node \"n\" is in use by backend \"drive0\"");
  EXPECT_EQ(world.read(*backend, {0, 2}).value(), "nn");
}

TEST(RemoveNode, ClosesTheNodeThoughReferencesAreLeft) {
  WorldGraph world;
  const NodeRef node = memory(world, "n", 'n');
  ASSERT_TRUE(world.wait(world.graph().remove_node("n")));
  EXPECT_EQ(world.world().closed.back(), "n");
  EXPECT_EQ(world.graph().find_node("n"), nullptr);
  EXPECT_EQ(node->name(), "n");
  const Result<BackendRef> backend = world.graph().create_backend("n");
  const Result<void> refused = world.wait((*backend)->insert_medium(node));
  EXPECT_EQ(refused.error().code(), ErrorCode::kClosed);
  EXPECT_EQ(world.wait(world.graph().remove_node("n")).error().code(), ErrorCode::kNotFound);
}

TEST(RemoveNode, ReportsWhatWentWrongInClosing) {
  WorldGraph world;
  const NodeRef node = memory(world, "n", 'n');
  world.world().closes.arm(1);
  EXPECT_EQ(world.wait(world.graph().remove_node("n")).error().code(), ErrorCode::kIo);
  EXPECT_EQ(world.graph().find_node("n"), nullptr);
}

TEST(SetBacking, ShowsAtOnceAndIsGoneAgain) {
  WorldGraph world;
  const NodeRef base = memory(world, "base", 'b');
  const NodeRef top = overlay(world, "top", "");
  const BackendRef backend = backend_on(world, top);
  EXPECT_EQ(world.read(*backend, {0, 2}).value(), std::string(2, '\0'));
  ASSERT_TRUE(world.wait(world.graph().set_backing(*top, base)));
  EXPECT_EQ(world.read(*backend, {0, 2}).value(), "bb");
  EXPECT_EQ(top->backing(), base.get());
  ASSERT_TRUE(world.wait(world.graph().set_backing(*top, NodeRef())));
  EXPECT_EQ(top->backing(), nullptr);
  EXPECT_EQ(world.read(*backend, {0, 2}).value(), std::string(2, '\0'));
}

TEST(SetBacking, MakesDeepChainsForgetWhereTheyLed) {
  WorldGraph world;
  const NodeRef old_base = memory(world, "old", 'o');
  const NodeRef new_base = memory(world, "new", 'n');
  const NodeRef low = overlay(world, "low", "old");
  const NodeRef middle = overlay(world, "middle", "low");
  const NodeRef upper = overlay(world, "upper", "middle");
  const NodeRef top = overlay(world, "top", "upper");
  const BackendRef backend = backend_on(world, top);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(world.read(*backend, {0, 2}).value(), "oo");
  ASSERT_TRUE(world.wait(world.graph().set_backing(*low, new_base)));
  EXPECT_EQ(world.read(*backend, {0, 2}).value(), "nn");
  const BackendRef writer = backend_on(world, new_base);
  ASSERT_TRUE(world.write(*writer, 0, "NN"));
  EXPECT_EQ(world.read(*backend, {0, 3}).value(), "NNn");
}

TEST(SetBacking, RefusesLoopsAndWhatHasNoBacking) {
  WorldGraph world;
  const NodeRef low = overlay(world, "low", "");
  const NodeRef top = overlay(world, "top", "low");
  Result<void> refused = world.wait(world.graph().set_backing(*low, top));
  EXPECT_EQ(refused.error().reason(), "graph-loop");
  EXPECT_EQ(low->backing(), nullptr);
  refused = world.wait(world.graph().set_backing(*low, low));
  EXPECT_EQ(refused.error().reason(), "graph-loop");
  const NodeRef plain = memory(world, "plain", 'p');
  refused = world.wait(world.graph().set_backing(*plain, low));
  EXPECT_EQ(refused.error().reason(), "backing-unsupported");
}

TEST(ReplaceNode, PutsAnotherUnderEveryParent) {
  WorldGraph world;
  const NodeRef old = memory(world, "old", 'o');
  const NodeRef fresh = memory(world, "fresh", 'f', 4096);
  const NodeRef top = overlay(world, "top", "old");
  const BackendRef direct = backend_on(world, old);
  const BackendRef above = backend_on(world, top);
  ASSERT_TRUE(world.wait(world.graph().replace_node(*old, fresh)));
  EXPECT_EQ(world.read(*direct, {0, 2}).value(), "ff");
  EXPECT_EQ(world.read(*above, {0, 2}).value(), "ff");
  EXPECT_EQ(direct->root(), fresh.get());
  EXPECT_EQ(direct->size().value(), 4096u);
  EXPECT_TRUE(static_cast<GraphNode&>(*old).parents().empty());
}

TEST(ReplaceNode, InsertsAFilterAboveTheNode) {
  WorldGraph world;
  const NodeRef node = memory(world, "n", 'n');
  const BackendRef backend = backend_on(world, node);
  const NodeRef filter = *world.open(R"({"driver":"pass","node-name":"f","file":"n"})");
  ASSERT_TRUE(world.wait(world.graph().replace_node(*node, filter)));
  EXPECT_EQ(backend->root(), filter.get());
  EXPECT_EQ(filter->primary(), node.get());
  EXPECT_EQ(world.read(*backend, {0, 2}).value(), "nn");
  ASSERT_TRUE(world.wait(world.graph().replace_node(*filter, node)));
  EXPECT_EQ(backend->root(), node.get());
  EXPECT_EQ(world.read(*backend, {0, 2}).value(), "nn");
}

TEST(ReplaceNode, LeavesAllParentsWhereTheyWereWhenOneIsRefused) {
  WorldGraph world;
  const NodeRef old = memory(world, "old", 'o');
  world.world().files["ro"] = make_file(8192, 'r');
  const NodeRef fixed =
      *world.open(R"({"driver":"memory","filename":"ro","read-only":true,"node-name":"ro"})");
  const NodeRef top = overlay(world, "top", "old");
  const BackendRef above = backend_on(world, top);
  const BackendRef writer = backend_on(world, old);
  const Result<void> refused = world.wait(world.graph().replace_node(*old, fixed));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), "node-read-only");
  EXPECT_EQ(top->backing(), old.get());
  EXPECT_EQ(writer->root(), old.get());
  EXPECT_EQ(world.read(*above, {0, 2}).value(), "oo");
  ASSERT_TRUE(world.write(*writer, 0, "x"));
}

}  // namespace
}  // namespace ashlar
