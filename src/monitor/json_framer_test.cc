// Where JSON texts end, what single quotes become, and how bad input ends.
#include "monitor/json_framer.h"

#include <gtest/gtest.h>

#include "monitor/json.h"

namespace ashlar::monitor {
namespace {

std::vector<std::string> frames(std::string_view bytes, JsonFramer::Limits limits = {}) {
  JsonFramer framer(limits);
  framer.feed(bytes);
  std::vector<std::string> result;
  while (auto frame = framer.next()) {
    result.push_back(frame->problem.empty() ? frame->text : "!" + frame->problem);
  }
  return result;
}

using Frames = std::vector<std::string>;

TEST(JsonFramer, EndsATextWithItsLastBracketWithoutALineEnd) {
  EXPECT_EQ(frames(R"({"a":[1,{}]}{"b":2})"), (Frames{R"({"a":[1,{}]})", R"({"b":2})"}));
}

TEST(JsonFramer, WaitsForWhatIsMissing) {
  JsonFramer framer;
  framer.feed(R"({"a":)");
  EXPECT_FALSE(framer.next());
  EXPECT_TRUE(framer.inside());
  framer.feed("\n 1 }");
  EXPECT_EQ(framer.next()->text, R"({"a":1})");
  EXPECT_FALSE(framer.inside());
}

TEST(JsonFramer, GivesTheSameTextsByteByByte) {
  const std::string input = R"([ "a\"]b" , 'c\'"d' ] true {"x":-1.5e3})";
  JsonFramer framer;
  Frames result;
  for (const char c : input) {
    framer.feed({&c, 1});
    while (auto frame = framer.next()) result.push_back(frame->text);
  }
  EXPECT_EQ(result, frames(input));
  EXPECT_EQ(result, (Frames{R"(["a\"]b","c'\"d"])", "true", R"({"x":-1.5e3})"}));
}

TEST(JsonFramer, TellsOfWordsThatAreNoneAtTheEndOfTheText) {
  EXPECT_EQ(frames(R"({"a":tru})"), (Frames{"!JSON parse error, invalid keyword 'tru'"}));
}

TEST(JsonFramer, StartsAfreshAfterAControlCharacter) {
  EXPECT_EQ(frames("{\"a\":[\x01 {\"b\":1}"),
            (Frames{"!JSON parse error, stray '\x01'", R"({"b":1})"}));
  EXPECT_EQ(frames("\xff{}").size(), 2u);
}

TEST(JsonFramer, EndsAStringAtALineEnd) {
  EXPECT_EQ(frames("{\"a\n{}"), (Frames{"!JSON parse error, stray '\"a'", "{}"}));
}

TEST(JsonFramer, RefusesBracketsThatDoNotMatch) {
  EXPECT_EQ(frames("}{}"), (Frames{"!JSON parse error, expecting value", "{}"}));
  EXPECT_EQ(frames("[}{}"), (Frames{"!JSON parse error, expecting value", "{}"}));
}

TEST(JsonFramer, HoldsTextsToTheirLimits) {
  JsonFramer::Limits limits;
  limits.text = 8;
  EXPECT_EQ(frames("\"123456789\"\n{}", limits), (Frames{"!JSON token size limit exceeded", "{}"}));
  EXPECT_EQ(frames("123456789\n{}", limits), (Frames{"!JSON token size limit exceeded", "{}"}));
  limits = {};
  limits.depth = 2;
  EXPECT_EQ(frames("[[]]", limits), (Frames{"[[]]"}));
  EXPECT_EQ(frames("[[[]]]\n{}", limits), (Frames{"!JSON nesting depth limit exceeded", "{}"}));
  limits = {};
  limits.tokens = 3;
  EXPECT_EQ(frames("[1]", limits).front(), "[1]");
  EXPECT_EQ(frames("[1,2]\n{}", limits), (Frames{"!JSON token count limit exceeded", "{}"}));
}

TEST(JsonFramer, TakesTextsUpToItsDepthThatTheParserReads) {
  const std::string deep = std::string(1024, '[') + std::string(1024, ']');
  ASSERT_EQ(frames(deep), (Frames{deep}));
  const auto parsed = parse_json(deep);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(to_line(Json(*parsed)), deep);
}

TEST(Json, SaysWhatIsWrong) {
  EXPECT_EQ(parse_json(R"({"a":1,"a":2})").error(), "JSON parse error, duplicate key 'a'");
  EXPECT_EQ(parse_json("[1,]").error(), "JSON parse error, invalid text at byte 4");
  EXPECT_EQ(parse_json("1e999").error(), "JSON parse error, number out of range");
  EXPECT_FALSE(parse_json("\"\xc3\x28\""));
}

TEST(Json, IsWrittenWithBlanksAndInAscii) {
  Json value = Json::object();
  value["b"] = {1, "\u00e9\n"};
  value["a"] = nullptr;
  EXPECT_EQ(to_line(value), R"({"b": [1, "\u00e9\n"], "a": null})");
}

}  // namespace
}  // namespace ashlar::monitor
