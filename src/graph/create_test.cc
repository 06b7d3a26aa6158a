// Creating images, and leaving nothing behind when that fails.
#include <gtest/gtest.h>

#include "testing/graph_world.h"

namespace ashlar {
namespace {

Result<void> create(WorldGraph& world, const std::string& filename, const std::string& format,
                    std::string_view options) {
  return world.wait(
      world.graph().create_image(filename, format, *OptionDict::parse_key_value(options)));
}

TEST(Create, MakesAnImageThatOpens) {
  WorldGraph world;
  world.world().files["base"] = make_file(4096, 'b');
  ASSERT_TRUE(create(world, "new", "layer", "size=4096,backing_file=base,backing_fmt=raw"));
  EXPECT_TRUE(world.graph().nodes().empty());
  EXPECT_EQ(world.world().open_drivers, 0u);
  EXPECT_TRUE(world.world().files["new"]->locks.empty());
  const Result<NodeRef> opened = world.open_image("new");
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->spec().name, "layer");
  EXPECT_EQ((*opened)->backing()->filename(), "base");
}

TEST(Create, HandsOptionsOnThatOnlyStorageKnows) {
  WorldGraph world;
  EXPECT_TRUE(create(world, "new", "layer", "size=4096,tidy=on"));
  const Result<void> wrong = create(world, "other", "layer", "size=4096,tidy=maybe");
  EXPECT_EQ(wrong.error().reason(), "option-switch");
  const Result<void> unknown = create(world, "other", "layer", "size=4096,colour=red");
  EXPECT_EQ(unknown.error().reason(), "option-unknown");
  EXPECT_EQ(unknown.error().values()[1], "colour");
  EXPECT_FALSE(world.world().files.contains("other"));
}

TEST(Create, SaysWhatCannotBeCreated) {
  WorldGraph world;
  EXPECT_EQ(create(world, "new", "qxx", "size=1").error().reason(), "driver-unknown");
  EXPECT_EQ(create(world, "new", "raw", "size=1").error().reason(), "create-unsupported");
  EXPECT_EQ(create(world, "x:new", "layer", "size=1").error().reason(), "protocol-unknown");
}

TEST(Create, RemovesAFileThatDidNotBecomeAnImage) {
  for (FailNth GraphWorld::* const what :
       {&GraphWorld::creations, &GraphWorld::writes, &GraphWorld::permissions, &GraphWorld::closes,
        &GraphWorld::opens}) {
    uint64_t steps = 1000;
    for (uint64_t nth = 1; nth <= steps; ++nth) {
      WorldGraph world;
      (world.world().*what).arm(nth);
      const Result<void> created = create(world, "new", "layer", "size=4096");
      if (created) steps = (world.world().*what).seen();
      EXPECT_EQ(world.world().files.contains("new"), created.has_value()) << nth;
      EXPECT_EQ(world.world().open_drivers, 0u) << nth;
      EXPECT_TRUE(world.graph().nodes().empty()) << nth;
    }
    EXPECT_LT(steps, 1000u);
  }
}

TEST(Create, KeepsAFileThatWasThereBefore) {
  WorldGraph world;
  world.world().files["old"] = make_file(512, 'o');
  world.world().creations.arm(1);
  EXPECT_EQ(create(world, "old", "layer", "size=4096").error().code(), ErrorCode::kNoSpace);
  EXPECT_TRUE(world.world().files.contains("old"));
}

}  // namespace
}  // namespace ashlar
