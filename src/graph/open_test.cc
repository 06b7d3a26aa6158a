// Opening trees: options, children, flags, and what is left after errors.
#include <gtest/gtest.h>

#include "testing/graph_world.h"

namespace ashlar {
namespace {

/// Opens, expects an error, and expects nothing to be left of it.
Error error_of(WorldGraph& world, std::string_view json) {
  Result<NodeRef> opened = world.open(json);
  if (opened) return Error(ErrorCode::kInvalidArgument, "it opened").because("it opened");
  EXPECT_TRUE(world.graph().nodes().empty());
  EXPECT_EQ(world.world().open_drivers, 0u);
  return opened.error();
}

const OpenFlags& flags_of(const WorldGraph& world, std::string_view name) {
  return const_cast<WorldGraph&>(world).graph().find_node(name)->flags();
}

TEST(Open, NamesUnknownDrivers) {
  WorldGraph world;
  const Error error = error_of(world, R"({"driver":"qxx"})");
  EXPECT_EQ(error.reason(), "driver-unknown");
  EXPECT_EQ(error.values()[0], "qxx");
  EXPECT_EQ(error_of(world, R"({"filename":"a"})").reason(), "driver-missing");
  EXPECT_EQ(error_of(world, R"({"driver":"raw","file":{"size":5}})").reason(), "driver-missing");
}

TEST(Open, RefusesOptionsThatNobodyTook) {
  WorldGraph world;
  const Error error = error_of(world, R"({"driver":"raw","file":{"driver":"memory","x":{"y":1}}})");
  EXPECT_EQ(error.reason(), "storage-option-unknown");
  EXPECT_EQ(error.values()[0], "memory");
  EXPECT_EQ(error.values()[1], "x.y");
  EXPECT_EQ(error_of(world, R"({"driver":"raw","file":{"driver":"memory"},"z":1})").values()[0],
            "raw");
}

TEST(Open, NamesMissingChildren) {
  WorldGraph world;
  const Error error = error_of(world, R"({"driver":"raw"})");
  EXPECT_EQ(error.reason(), "child-missing");
  EXPECT_EQ(error.values()[0], "file");
  EXPECT_EQ(error_of(world, R"({"driver":"raw","file":"f"})").reason(), "node-not-found");
  EXPECT_EQ(error_of(world, R"({"driver":"raw","file":"f","file.driver":"memory"})").reason(),
            "child-node-and-options");
}

TEST(Open, SharesNodesThatAreNamedAsChildren) {
  WorldGraph world;
  Result<NodeRef> file = world.open(R"({"driver":"memory","node-name":"f","size":512})");
  const Result<NodeRef> one = world.open(R"({"driver":"raw","file":"f"})");
  const Result<NodeRef> two = world.open(R"({"driver":"raw","file":"f"})");
  ASSERT_TRUE(one && two);
  EXPECT_EQ((*one)->primary(), file->get());
  EXPECT_EQ((*two)->primary(), file->get());
  EXPECT_EQ((*two)->size(), 512u);
  file = NodeRef();
  world.wait(world.graph().settle());
  EXPECT_NE(world.graph().find_node("f"), nullptr);  // its parents keep it
}

TEST(Open, PassesFlagsToTheFileOfAFormat) {
  WorldGraph world;
  const Result<NodeRef> node = world.open(R"({"driver":"raw","node-name":"top","read-only":true,
      "force-share":true,"cache":{"direct":true,"no-flush":true},
      "file":{"driver":"memory","node-name":"f"}})");
  ASSERT_TRUE(node);
  const OpenFlags& flags = flags_of(world, "f");
  EXPECT_TRUE(flags.read_only && flags.force_share && flags.cache_direct && flags.cache_no_flush);
  EXPECT_EQ(flags.discard, OpenFlags::Discard::kUnmap);  // the format decides
  EXPECT_EQ(flags_of(world, "top").discard, OpenFlags::Discard::kIgnore);
}

TEST(Open, LetsTheOptionsOfAChildWin) {
  WorldGraph world;
  const Result<NodeRef> node = world.open(R"({"driver":"raw","cache.direct":"on",
      "discard":"unmap","detect-zeroes":"unmap","file.driver":"memory","file.node-name":"f",
      "file.cache.direct":"off","file.discard":"ignore","file.read-only":"on"})");
  ASSERT_TRUE(node);
  const OpenFlags& flags = flags_of(world, "f");
  EXPECT_FALSE(flags.cache_direct);
  EXPECT_TRUE(flags.read_only);
  EXPECT_EQ(flags.discard, OpenFlags::Discard::kIgnore);
  EXPECT_EQ(flags.detect_zeroes, OpenFlags::DetectZeroes::kOff);
  EXPECT_EQ((*node)->flags().detect_zeroes, OpenFlags::DetectZeroes::kUnmap);
}

TEST(Open, RefusesFlagsThatDoNotGoTogether) {
  WorldGraph world;
  EXPECT_EQ(error_of(world, R"({"driver":"memory","detect-zeroes":"unmap"})").reason(),
            "detect-zeroes-discard");
  EXPECT_EQ(error_of(world, R"({"driver":"memory","force-share":true})").reason(),
            "force-share-writable");
  EXPECT_EQ(error_of(world, R"({"driver":"memory","discard":"maybe"})").reason(), "option-choice");
}

TEST(Open, FallsBackToReadOnlyWhereThatIsAllowed) {
  WorldGraph world;
  world.world().files["f"] = make_layer(8192);
  world.world().files["f"]->read_only = true;
  EXPECT_EQ(world.open_image("f", "layer").error().code(), ErrorCode::kPermission);
  OpenFlags flags;
  flags.auto_read_only = true;
  const Result<NodeRef> node = world.open_image("f", "layer", flags);
  ASSERT_TRUE(node) << node.error().message();
  EXPECT_TRUE((*node)->flags().read_only);
  EXPECT_TRUE((*node)->primary()->flags().read_only);
  world.world().files["g"] = make_layer(8192);
  const Result<NodeRef> file =
      world.open(R"({"driver":"memory","node-name":"ro","filename":"g","read-only":true})");
  EXPECT_FALSE(world.open(R"({"driver":"layer","node-name":"n","file":"ro"})"));
  const Result<NodeRef> above =
      world.open(R"({"driver":"layer","node-name":"n","file":"ro","auto-read-only":true})");
  ASSERT_TRUE(above) << above.error().message();
  EXPECT_TRUE((*above)->flags().read_only);
}

TEST(Open, LeavesNothingBehindWhereverItFails) {
  constexpr std::string_view kTree = R"({"driver":"pass","node-name":"top","file":{
      "driver":"layer","node-name":"upper","file":{"driver":"memory","filename":"a"},
      "backing":{"driver":"layer","node-name":"lower","file.filename":"b"}}})";
  for (FailNth GraphWorld::* const what :
       {&GraphWorld::opens, &GraphWorld::permissions, &GraphWorld::reads}) {
    uint64_t steps = 1000;
    for (uint64_t nth = 1; nth <= steps; ++nth) {
      WorldGraph world;
      world.world().files["a"] = make_layer(8192);
      world.world().files["b"] = make_layer(8192);
      (world.world().*what).arm(nth);
      const Result<NodeRef> opened = world.open(kTree);
      if (opened) steps = (world.world().*what).seen();
      EXPECT_EQ(bool(opened), nth > steps);
      if (opened) continue;
      EXPECT_TRUE(world.graph().nodes().empty()) << nth;
      EXPECT_EQ(world.world().open_drivers, 0u) << nth;
      EXPECT_TRUE(world.world().files["a"]->locks.empty()) << nth;
      EXPECT_TRUE(world.world().files["b"]->locks.empty()) << nth;
    }
    EXPECT_GE(steps, 2u);
    EXPECT_LT(steps, 1000u);
  }
}

TEST(Open, ThatFailsWaitsForNoOtherClose) {
  struct Steps {
    static Task<void> run(WorldGraph& world, Result<NodeRef>& other) {
      co_await world.world().closing.close();
      other = NodeRef();
      OptionDict options = *OptionDict::parse_json(R"({"driver":"memory","filename":"none"})");
      const Result<NodeRef> opened = co_await world.graph().open(std::move(options));
      EXPECT_FALSE(opened);
      EXPECT_EQ(world.world().open_drivers, 1u);
      world.world().closing.open();
    }
  };
  WorldGraph world;
  Result<NodeRef> other = world.open(R"({"driver":"memory"})");
  ASSERT_TRUE(other);
  world.wait(Steps::run(world, other));
}

TEST(Open, RefusesMoreNodesThanTheLimit) {
  WorldGraph::Settings settings;
  settings.limits.nodes = 3;
  WorldGraph world(settings);
  const Result<NodeRef> two = world.open(R"({"driver":"raw","file.driver":"memory"})");
  const Result<NodeRef> four = world.open(R"({"driver":"raw","file.driver":"memory"})");
  ASSERT_FALSE(four);
  EXPECT_EQ(four.error().reason(), "graph-nodes");
  EXPECT_EQ(world.graph().nodes().size(), 2u);
}

TEST(Open, ClosesParentsBeforeTheirChildren) {
  WorldGraph world;
  world.world().files["top"] = make_layer(8192, "base", "layer");
  world.world().files["base"] = make_layer(8192);
  Result<NodeRef> node = world.open_image("top");
  ASSERT_TRUE(node);
  node = NodeRef();
  world.wait(world.graph().settle());
  EXPECT_TRUE(world.graph().nodes().empty());
  EXPECT_EQ(world.world().closed.size(), 2u);
}

TEST(Open, EndsWithTheGraphThoughReferencesAreLeft) {
  WorldGraph world;
  world.world().files["top"] = make_layer(8192, "base", "layer");
  world.world().files["base"] = make_layer(8192);
  const Result<NodeRef> node = world.open_image("top");
  const Result<NodeRef> other = world.open_image("base", "raw", {.read_only = true});
  ASSERT_TRUE(node && other);
  EXPECT_TRUE(world.wait(world.graph().close()));
  EXPECT_TRUE(world.graph().nodes().empty());
  EXPECT_EQ(world.world().closed.size(), 3u);
  EXPECT_TRUE(world.world().files["top"]->locks.empty());
  EXPECT_NE((*node)->name(), "");
}

TEST(Open, ReportsErrorsOfClosingWhenTheGraphCloses) {
  WorldGraph world;
  Result<NodeRef> node = world.open(R"({"driver":"memory"})");
  world.world().closes.arm(1);
  node = NodeRef();
  const Result<void> closed = world.wait(world.graph().close());
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code(), ErrorCode::kIo);
}

}  // namespace
}  // namespace ashlar
