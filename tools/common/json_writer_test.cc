// Claims about the JSON that tools print.
#include "tools/common/json_writer.h"

#include <gtest/gtest.h>

#include <string>

namespace ashlar::tools {
namespace {

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonString, EscapesEverythingButPlainAscii) {
  EXPECT_EQ(quoted("a\"\\/\t\n\x01\x7f<>&'"), R"("a\"\\/\t\n\u0001\u007F<>&'")");
  EXPECT_EQ(quoted("\xc3\xbc"), R"("\u00FC")");
  EXPECT_EQ(quoted("\xf0\x9f\x98\x80"), R"("\uD83D\uDE00")");
}

TEST(JsonString, ReplacesEachByteThatIsNoUtf8) {
  EXPECT_EQ(quoted("\xff\xc0x"), R"("\uFFFD\uFFFDx")");
  EXPECT_EQ(quoted("\xe2\x82"), R"("\uFFFD\uFFFD")");            // cut short
  EXPECT_EQ(quoted("\xc1\xbf"), R"("\uFFFD\uFFFD")");            // longer than needed
  EXPECT_EQ(quoted("\xed\xa0\x80"), R"("\uFFFD\uFFFD\uFFFD")");  // half a pair
  EXPECT_EQ(quoted("\xf8\x88\x80\x80"), R"("\uFFFD\uFFFD\uFFFD\uFFFD")");
}

TEST(JsonWriter, IndentsByFourAndKeepsTheOrder) {
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  json.member("b", uint64_t{1});
  json.member("a", true);
  json.key("list");
  json.begin_array();
  json.value("x");
  json.value(std::string("y"));
  json.end_array();
  json.end_object();
  EXPECT_EQ(text,
            "{\n    \"b\": 1,\n    \"a\": true,\n    \"list\": [\n        \"x\",\n        \"y\"\n"
            "    ]\n}");
}

TEST(JsonWriter, PutsTheEndOfSomethingEmptyOnItsOwnLine) {
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  json.key("none");
  json.begin_array();
  json.end_array();
  json.end_object();
  EXPECT_EQ(text, "{\n    \"none\": [\n    ]\n}");
}

TEST(JsonWriter, WritesATreeOfValues) {
  InfoValue::Object slot{{"active", false}, {"offset", int64_t{-1}}};
  InfoValue::List slots;
  slots.emplace_back(std::move(slot));
  const InfoValue::Object tree{{"slots", std::move(slots)}, {"name", "n"}};
  std::string text;
  JsonWriter json(text);
  json.value(tree);
  EXPECT_EQ(text,
            "{\n    \"slots\": [\n        {\n            \"active\": false,\n"
            "            \"offset\": -1\n        }\n    ],\n    \"name\": \"n\"\n}");
}

}  // namespace
}  // namespace ashlar::tools
