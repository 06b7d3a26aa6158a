// Backing chains: resolvers, limits, loops, and depth.
#include <gtest/gtest.h>

#include "testing/graph_world.h"

namespace ashlar {
namespace {

/// Layers "l0" ... over the raw file "base", which holds 'b'.
void add_chain(GraphWorld& world, unsigned layers) {
  world.files["base"] = make_file(8192, 'b');
  for (unsigned i = 0; i < layers; ++i) {
    const std::string below = i == 0 ? "base" : "l" + std::to_string(i - 1);
    world.files["l" + std::to_string(i)] = make_layer(8192, below, i == 0 ? "raw" : "layer");
  }
}

TEST(Chain, OpensWhatImagesNameReadOnly) {
  WorldGraph world;
  add_chain(world.world(), 2);
  const Result<NodeRef> top = world.open_image("l1");
  ASSERT_TRUE(top) << top.error().message();
  const Node* middle = (*top)->backing();
  ASSERT_NE(middle, nullptr);
  EXPECT_EQ(middle->filename(), "l0");
  EXPECT_TRUE(middle->flags().read_only);
  EXPECT_FALSE((*top)->flags().read_only);
  EXPECT_EQ(middle->backing()->spec().name, "raw");
  EXPECT_EQ(middle->backing()->filename(), "base");
}

TEST(Chain, IsRefusedByDefault) {
  WorldRuntime runtime;
  add_chain(runtime.world, 1);
  Graph graph(runtime, {.drivers = world_drivers(), .resolver = {}, .limits = {}});
  Graph::Image image;
  image.filename = "l0";
  const Result<NodeRef> top = sync_wait(runtime, graph.open_image(image));
  ASSERT_FALSE(top);
  EXPECT_EQ(top.error().reason(), "backing-open");
  ASSERT_TRUE(top.error().cause());
  EXPECT_EQ(top.error().cause()->reason(), "reference-refused");
  (void)sync_wait(runtime, graph.close());
}

TEST(Chain, MayBeLeftClosed) {
  WorldGraph world;
  add_chain(world.world(), 1);
  OpenFlags flags;
  flags.no_backing = true;
  Result<NodeRef> top = world.open_image("l0", "layer", flags);
  ASSERT_TRUE(top);
  EXPECT_EQ((*top)->backing(), nullptr);
  top = NodeRef();
  world.wait(world.graph().settle());
  const Result<NodeRef> none =
      world.open(R"({"driver":"layer","file.filename":"l0","backing":null})");
  ASSERT_TRUE(none) << none.error().message();
  EXPECT_EQ((*none)->backing(), nullptr);
  EXPECT_EQ(world.graph().nodes().size(), 2u);
}

TEST(Chain, TakesTheUsersBackingBeforeTheImages) {
  WorldGraph world;
  add_chain(world.world(), 2);
  const Result<NodeRef> base = world.open(R"({"driver":"memory","node-name":"mine"})");
  const Result<NodeRef> one =
      world.open(R"({"driver":"layer","file.filename":"l1","backing":"mine"})");
  ASSERT_TRUE(one) << one.error().message();
  EXPECT_EQ((*one)->backing(), base->get());
}

TEST(Chain, AddsTheUsersOptionsToTheImagesBacking) {
  WorldGraph world;
  add_chain(world.world(), 1);
  const Result<NodeRef> top =
      world.open(R"({"driver":"layer","file.filename":"l0","backing":{"node-name":"low"}})");
  ASSERT_TRUE(top) << top.error().message();
  EXPECT_EQ((*top)->backing()->name(), "low");
  EXPECT_EQ((*top)->backing()->filename(), "base");
  EXPECT_EQ((*top)->filename(), "l0");
}

TEST(Chain, FindsRelativeNamesBesideTheImage) {
  WorldGraph world;
  world.world().files["dir/top"] = make_layer(8192, "base", "raw");
  world.world().files["dir/base"] = make_file(8192);
  const Result<NodeRef> top = world.open_image("dir/top");
  ASSERT_TRUE(top) << top.error().message();
  EXPECT_EQ((*top)->backing()->filename(), "dir/base");
}

TEST(Chain, NamesTheImageWhoseBackingIsMissing) {
  WorldGraph world;
  world.world().files["l1"] = make_layer(8192, "l0", "layer");
  world.world().files["l0"] = make_layer(8192, "none", "raw");
  const Result<NodeRef> top = world.open_image("l1");
  ASSERT_FALSE(top);
  EXPECT_EQ(top.error().reason(), "backing-open");
  EXPECT_EQ(top.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(top.error().message().find("backing of \"l0\""), std::string::npos)
      << top.error().message();
  EXPECT_TRUE(world.graph().nodes().empty());
}

TEST(Chain, RefusesToContainItself) {
  WorldGraph world;
  world.world().files["a"] = make_layer(8192, "./b", "layer");
  world.world().files["b"] = make_layer(8192, "././a", "layer");
  const Result<NodeRef> top = world.open_image("a");
  ASSERT_FALSE(top);
  ASSERT_TRUE(top.error().cause());
  EXPECT_EQ(top.error().cause()->reason(), "backing-loop");
  EXPECT_EQ(top.error().cause()->values()[0], "a");
  world.world().files["self"] = make_layer(8192,
                                           "json:{\"driver\":\"pass\",\"file\":"
                                           "{\"driver\":\"layer\",\"file.filename\":\"self\"}}");
  EXPECT_FALSE(world.open_image("self"));
  EXPECT_TRUE(world.graph().nodes().empty());
}

TEST(Chain, IsNoDeeperThanTheLimit) {
  WorldGraph::Settings settings;
  settings.limits.chain_depth = 5;
  WorldGraph world(settings);
  add_chain(world.world(), 5);
  EXPECT_TRUE(world.open_image("l3"));
  const Result<NodeRef> deep = world.open_image("l4");
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().cause()->reason(), "chain-depth");
}

TEST(Chain, OfTwoThousandLayersTakesNoDeepStack) {
  constexpr unsigned kLayers = 2000;
  WorldGraph::Settings settings;
  settings.limits.chain_depth = kLayers + 1;
  WorldGraph world(settings);
  add_chain(world.world(), kLayers);
  Result<NodeRef> top = world.open_image("l" + std::to_string(kLayers - 1));
  ASSERT_TRUE(top) << top.error().message();
  EXPECT_EQ(world.graph().nodes().size(), 2 * (kLayers + 1));
  Result<BackendRef> backend = world.graph().create_backend();
  const Permissions used = Permission::kConsistentRead | Permission::kWrite;
  ASSERT_TRUE((*backend)->set_permissions(used, Permission::kConsistentRead));
  ASSERT_TRUE(world.wait((*backend)->insert_medium(*top)));
  EXPECT_EQ(world.read(**backend, {4095, 2}).value(), "bb");
  ASSERT_TRUE(world.write(**backend, 0, "new"));
  EXPECT_EQ(world.read(**backend, {0, 4}).value(), "newb");
  top = NodeRef();
  backend = BackendRef();
  world.wait(world.graph().settle());
  EXPECT_EQ(world.world().open_drivers, 0u);
}

TEST(Chain, OpensFiltersWithinImagesOnlySoDeep) {
  WorldGraph world;
  for (int i = 0; i < 100; ++i) {
    world.world().files["f" + std::to_string(i)] =
        make_layer(8192,
                   "json:{\"driver\":\"pass\",\"file\":{\"driver\":\"layer\","
                   "\"file.filename\":\"f" +
                       std::to_string(i + 1) + "\"}}");
  }
  const Result<NodeRef> top = world.open_image("f0");
  ASSERT_FALSE(top);
  EXPECT_EQ(top.error().code(), ErrorCode::kTooLarge);
  EXPECT_TRUE(world.graph().nodes().empty());
}

}  // namespace
}  // namespace ashlar
