// File names: prefixes, json:, probing, and how nodes are called in turn.
#include "graph/filename.h"

#include <gtest/gtest.h>

#include "testing/graph_world.h"

namespace ashlar {
namespace {

TEST(Filename, HasAPrefixWhenAColonComesBeforeAnySlash) {
  EXPECT_EQ(filename_prefix("nbd://host/x"), "nbd");
  EXPECT_EQ(filename_prefix("file:a"), "file");
  EXPECT_EQ(filename_prefix("./a:b"), "");
  EXPECT_EQ(filename_prefix("/a:b"), "");
  EXPECT_EQ(filename_prefix("plain"), "");
}

TEST(Filename, IsResolvedBesideItsImage) {
  EXPECT_EQ(*resolve_beside("b", "dir/a"), "dir/b");
  EXPECT_EQ(*resolve_beside("../b", "/x/y/a"), "/x/y/../b");
  EXPECT_EQ(*resolve_beside("b", "a"), "b");
  EXPECT_EQ(*resolve_beside("/b", "dir/a"), "/b");
  EXPECT_EQ(*resolve_beside("nbd://h/b", "dir/a"), "nbd://h/b");
  EXPECT_EQ(*resolve_beside("b", "file:a"), "file:b");
  EXPECT_EQ(resolve_beside("b", "json:{}").error().reason(), "reference-relative");
}

TEST(Filename, ComparesWithoutDotsAndDoubledSlashes) {
  EXPECT_EQ(comparable_name(".//a/./b"), "a/b");
  EXPECT_EQ(comparable_name("//a//b"), "/a/b");
  EXPECT_EQ(comparable_name("a/../b"), "a/../b");
  EXPECT_NE(comparable_name("/a"), comparable_name("a"));
}

TEST(OpenImage, NamesUnknownPrefixes) {
  WorldGraph world;
  const Result<NodeRef> opened = world.open_image("foo:bar");
  EXPECT_EQ(opened.error().reason(), "protocol-unknown");
  EXPECT_EQ(opened.error().values()[0], "foo");
  EXPECT_EQ(world.open_image(":bar").error().reason(), "protocol-unknown");
}

TEST(OpenImage, GuessesTheFormatAndSaysSo) {
  WorldGraph world;
  world.world().files["image"] = make_layer(8192);
  world.world().files["plain"] = make_file(8192);
  world.world().files["empty"] = make_file(0);
  const Result<NodeRef> image = world.open_image("image");
  EXPECT_EQ((*image)->spec().name, "layer");
  EXPECT_TRUE((*image)->flags().probed);
  EXPECT_FALSE((*image)->primary()->flags().probed);
  const Result<NodeRef> plain = world.open_image("file:plain");
  EXPECT_EQ((*plain)->spec().name, "raw");
  EXPECT_TRUE((*plain)->flags().probed);
  EXPECT_EQ((*world.open_image("empty"))->spec().name, "raw");
  EXPECT_FALSE((*world.open_image("plain", "raw"))->flags().probed);
  EXPECT_EQ(world.open_image("plain", "layer").error().code(), ErrorCode::kWrongFormat);
}

TEST(OpenImage, OpensTheFileItLookedAtOnlyOnce) {
  WorldGraph world;
  world.world().files["image"] = make_layer(8192);
  const Result<NodeRef> image = world.open_image("image");
  ASSERT_TRUE(image);
  EXPECT_EQ(world.world().opens.seen(), 1u);
}

TEST(OpenImage, TakesJsonNames) {
  WorldGraph world;
  world.world().files["image"] = make_layer(8192);
  const Result<NodeRef> probed = world.open_image(R"(json:{"file":{"filename":"image"}})");
  EXPECT_EQ((*probed)->spec().name, "layer");
  const Result<NodeRef> forced = world.open_image(
      R"(json:{"driver":"layer","read-only":true,"force-share":true,"file.filename":"image"})",
      "raw");
  EXPECT_EQ((*forced)->spec().name, "raw");  // what is asked for beside the name wins
  const Result<NodeRef> storage =
      world.open_image(R"(json:{"driver":"memory","filename":"image","read-only":true})");
  EXPECT_EQ((*storage)->spec().name, "memory");
  EXPECT_EQ(world.open_image(R"(json:{"filename":"image"})").error().reason(), "driver-missing");
  EXPECT_FALSE(world.open_image("json:{"));
}

TEST(OpenImage, TakesStorageForAFormat) {
  WorldGraph world;
  world.world().files["plain"] = make_file(512);
  const Result<NodeRef> opened = world.open_image("plain", "memory");
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->filename(), "plain");
  EXPECT_EQ((*opened)->primary(), nullptr);
}

TEST(ImageOptions, AreThoseThatOpenImageUses) {
  WorldGraph world;
  world.world().files["image"] = make_layer(8192);
  Graph::Image image;
  image.filename = "image";
  image.options.set("file.cache.direct", std::string("on"));
  const Result<OptionDict> options = world.wait(world.graph().image_options(image));
  ASSERT_TRUE(options);
  EXPECT_EQ(options->to_json_name(),
            R"(json:{"driver": "layer", "file": {"driver": "memory", "filename": "image", )"
            R"("cache": {"direct": "on"}}})");
  EXPECT_EQ(world.world().open_drivers, 0u);
}

TEST(Filename, OfANodeIsPlainWhereThatSaysItAll) {
  WorldGraph world;
  for (const char* file : {"top", "other"}) world.world().files[file] = make_layer(8192);
  world.world().files["base"] = make_file(8192);
  const Result<NodeRef> plain = world.open_image("top", "layer");
  EXPECT_EQ((*plain)->filename(), "top");
  const Result<NodeRef> backed = world.open(R"({"driver":"layer","file.filename":"other",
      "backing":{"driver":"raw","file.filename":"base"}})");
  EXPECT_EQ((*backed)->filename(),
            R"(json:{"driver": "layer", "file": {"driver": "memory", "filename": "other"}, )"
            R"("backing": {"driver": "raw", "file": {"driver": "memory", "filename": "base"}}})");
  const Result<NodeRef> filtered = world.open(R"({"driver":"pass","file.filename":"base",
      "file.driver":"memory"})");
  EXPECT_EQ((*filtered)->filename(),
            R"(json:{"driver": "pass", "file": {"driver": "memory", "filename": "base"}})");
}

}  // namespace
}  // namespace ashlar
