// Names: one space for nodes and backends, made up where nobody gives one.
#include <gtest/gtest.h>

#include "testing/graph_world.h"

namespace ashlar {
namespace {

std::string_view reason_of(const Result<NodeRef>& result) {
  return result ? "opened" : result.error().reason();
}
std::string_view reason_of(const Result<BackendRef>& result) {
  return result ? "created" : result.error().reason();
}

TEST(Names, StartWithALetterAndHaveAtMost31Characters) {
  WorldGraph world;
  for (const char* good : {"a", "Z9", "a-b.c_d", "abcdefghijklmnopqrstuvwxyz01234"}) {
    const Result<BackendRef> backend = world.graph().create_backend(good);
    EXPECT_EQ(reason_of(backend), "created") << good;
    EXPECT_EQ((*backend)->name(), good);
  }
  for (const char* bad : {"9a", "-a", "#block000", "a b", "a/b", "a\xc3\xa9", ".",
                          "abcdefghijklmnopqrstuvwxyz012345"}) {
    EXPECT_EQ(reason_of(world.graph().create_backend(bad)), "name-invalid") << bad;
  }
}

TEST(Names, OfNodesAndBackendsExcludeEachOther) {
  WorldGraph world;
  const Result<BackendRef> backend = world.graph().create_backend("one");
  const Result<NodeRef> node = world.open(R"({"driver":"memory","node-name":"two"})");
  ASSERT_TRUE(node);
  const Result<NodeRef> clash = world.open(R"({"driver":"memory","node-name":"one"})");
  ASSERT_EQ(reason_of(clash), "name-taken");
  EXPECT_EQ(clash.error().values()[1], "backend");
  const Result<BackendRef> other = world.graph().create_backend("two");
  ASSERT_EQ(reason_of(other), "name-taken");
  EXPECT_EQ(other.error().values()[1], "node");
  EXPECT_EQ(other.error().code(), ErrorCode::kExists);
  EXPECT_EQ(reason_of(world.graph().create_backend("one")), "name-taken");
}

TEST(Names, AreMadeUpForNodesThatHaveNone) {
  WorldGraph world;
  const Result<NodeRef> first = world.open(R"({"driver":"memory"})");
  const Result<NodeRef> second = world.open(R"({"driver":"memory"})");
  EXPECT_EQ((*first)->name(), "#block000");
  EXPECT_EQ((*second)->name(), "#block001");
  EXPECT_EQ(world.graph().find_node("#block001"), second->get());
}

TEST(Names, OfDroppedNodesAreFreeAtOnce) {
  WorldGraph world;
  Result<NodeRef> node = world.open(R"({"driver":"memory","node-name":"n"})");
  node = NodeRef();
  EXPECT_EQ(world.graph().find_node("n"), nullptr);
  EXPECT_EQ(world.world().open_drivers, 1u);  // not closed yet
  const Result<BackendRef> backend = world.graph().create_backend("n");
  EXPECT_EQ(reason_of(backend), "created");
  world.wait(world.graph().settle());
  EXPECT_EQ(world.world().open_drivers, 0u);
}

TEST(Names, OfFailedOpensAreFreeAgain) {
  WorldGraph world;
  EXPECT_FALSE(world.open(R"({"driver":"memory","node-name":"n","filename":"none"})"));
  EXPECT_TRUE(world.open(R"({"driver":"memory","node-name":"n"})"));
}

TEST(Names, ListNodesInOrderOfOpening) {
  WorldGraph world;
  const Result<NodeRef> b =
      world.open(R"({"driver":"raw","node-name":"b","file":{"driver":"memory"}})");
  const Result<NodeRef> a = world.open(R"({"driver":"memory","node-name":"a"})");
  const std::vector<std::string> expected{"b", "#block000", "a"};
  EXPECT_EQ(world.node_names(), expected);
}

}  // namespace
}  // namespace ashlar
