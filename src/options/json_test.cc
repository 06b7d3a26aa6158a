// Claims about options written as JSON: what is read, what is refused, and json: names.
#include <gtest/gtest.h>

#include "ashlar/options.h"

namespace ashlar {
namespace {

std::string json_name(std::string_view text) {
  Result<OptionDict> dict = OptionDict::parse_json(text);
  return dict ? dict->to_json_name() : std::string(dict.error().reason());
}
std::string repeated(std::string_view part, size_t times) {
  std::string text;
  for (size_t i = 0; i < times; ++i) text += part;
  return text;
}

TEST(Json, FlattensObjectsAndLists) {
  const OptionDict dict = *OptionDict::parse_json(
      R"({"driver": "quorum", "children": [{"driver": "raw"}, "n1"], "file": {"a": {"b": 1}}})");
  EXPECT_EQ(dict.text("driver"), "quorum");
  EXPECT_EQ(dict.text("children.0.driver"), "raw");
  EXPECT_EQ(dict.text("children.1"), "n1");
  EXPECT_EQ(dict.text("file.a.b"), "1");
  EXPECT_EQ(dict.entries().size(), 4u);
}

TEST(Json, PutsABlankAfterColonsAndCommas) {
  EXPECT_EQ(json_name(R"({"driver":"raw","file":{"driver":"file","filename":"a"},"l":[1,2]})"),
            R"(json:{"driver": "raw", "file": {"driver": "file", "filename": "a"}, "l": [1, 2]})");
}

TEST(Json, KeepsTypes) {
  EXPECT_EQ(json_name(R"({"a":true,"b":null,"c":-1,"d":0.5,"e":"1","f":512.0,"g":1e3})"),
            R"(json:{"a": true, "b": null, "c": -1, "d": 0.5, "e": "1", "f": 512, "g": 1000})");
}

TEST(Json, KeepsLargeNumbersExact) {
  EXPECT_EQ(json_name(R"({"a":9007199254740992.0,"b":9223372036854775808.0,"c":1e300,"d":-1e18})"),
            R"(json:{"a": 9007199254740992, "b": 9223372036854775808.0, "c": 1e+300, )"
            R"("d": -1000000000000000000})");
}

TEST(Json, EscapesWhatIsNotPlainAscii) {
  OptionDict dict;
  dict.set("a", std::string("\xc3\xa9\x7f\"\\\t\x01\xff/\xf0\x9f\x98\x80"));
  EXPECT_EQ(dict.to_json_name(), R"(json:{"a": "\u00E9\u007F\"\\\t\u0001\uFFFD/\uD83D\uDE00"})");
}

TEST(Json, PrintsBrokenUtf8AsReplacementCharacters) {
  for (const char* broken : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf5",
                             "\xf4\x90\x80\x80", "\xf0\x80\x80\x80"}) {
    OptionDict dict;
    dict.set("a", std::string(broken) + "x");
    const std::string name = dict.to_json_name();
    EXPECT_NE(name.find("\\uFFFD"), name.npos) << name;
    EXPECT_TRUE(name.ends_with("x\"}")) << name;
  }
}

TEST(Json, AcceptsSingleQuotes) {
  EXPECT_EQ(json_name(R"({'driver':'raw','x':'say "hi"','y':"it's",'z':'it\'s'})"),
            R"(json:{"driver": "raw", "x": "say \"hi\"", "y": "it's", "z": "it's"})");
}

TEST(Json, KeepsADottedNameWhereItsParentHasAValue) {
  EXPECT_EQ(json_name(R"({"a.b": 1, "a": 2, "a.c.d": 3, "x.y": 4})"),
            R"(json:{"a.b": 1, "a": 2, "a.c.d": 3, "x": {"y": 4}})");
}

TEST(Json, ListsOnlyElementsInOrderFromZero) {
  EXPECT_EQ(json_name(R"({"a": {"1": 1, "0": 0}})"), R"(json:{"a": {"1": 1, "0": 0}})");
  EXPECT_EQ(json_name(R"({"a": {"0": 0, "01": 1}})"), R"(json:{"a": {"0": 0, "01": 1}})");
  EXPECT_EQ(json_name(R"({"0": 1})"), R"(json:{"0": 1})");
}

TEST(Json, RefusesAllButOneObject) {
  for (const char* text : {"[]", "[1]", "1", "\"a\"", "null", "true"}) {
    EXPECT_EQ(json_name(text), "json-not-object") << text;
  }
  for (const char* text :
       {"{}}", "{} {}", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "{\"a\":}", "{\"a\":01}",
        "{\"a\":\"\\x\"}", "{\"a\":\"\n\"}", "// x\n{}", "{\"a\":nan}"}) {
    EXPECT_EQ(json_name(text), "json-syntax") << text;
  }
}

TEST(Json, SaysWhenTheTextEndsTooEarly) {
  for (const char* text : {"", " ", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":'b}"}) {
    EXPECT_EQ(json_name(text), "json-end") << text;
  }
}

TEST(Json, RefusesANameThatIsThereTwice) {
  EXPECT_EQ(json_name(R"({"driver": "raw", "driver": "qcow2"})"), "json-duplicate-key");
  EXPECT_EQ(json_name(R"({"a": {}, "a": {}})"), "json-duplicate-key");
  EXPECT_EQ(json_name(R"({"a": {"b": 1}, "c": {"b": 1}})"),
            R"(json:{"a": {"b": 1}, "c": {"b": 1}})");
}

TEST(Json, RefusesNumbersThatNoDoubleHolds) {
  EXPECT_EQ(json_name(R"({"a": 1e400})"), "json-number");
  EXPECT_EQ(json_name(R"({"a": )" + repeated("9", 400) + "}"), "json-number");
  EXPECT_EQ(json_name(R"({"a": 18446744073709551615})"), R"(json:{"a": "18446744073709551615"})");
}

TEST(Json, RefusesDepthBeyondTheLimitWithoutRecursion) {
  EXPECT_EQ(json_name(repeated("{\"a\":", 10000) + "1" + repeated("}", 10000)), "options-limit");
  EXPECT_EQ(json_name("{\"a\":" + repeated("[", 10000)), "options-limit");
  EXPECT_EQ(json_name(repeated("{\"a\":", 64) + "1" + repeated("}", 64)).substr(0, 11),
            "json:{\"a\": ");
}

TEST(Json, LimitsLengthCountAndNames) {
  EXPECT_EQ(json_name("{\"a\":\"" + std::string(OptionDict::kMaxTextLength, 'x') + "\"}"),
            "options-limit");
  EXPECT_EQ(
      json_name("{\"a\":\"" + std::string(OptionDict::kMaxTextLength - 100, 'x') + "\"}").size(),
      OptionDict::kMaxTextLength - 100 + 14);
  EXPECT_EQ(json_name("{\"a\":[" + repeated("0,", 5000) + "0]}"), "options-limit");
  EXPECT_EQ(json_name("{\"" + std::string(300, 'k') + "\":1}"), "options-limit");
  EXPECT_EQ(json_name("{\"\":1}"), "option-name");
}

TEST(Json, RefusesZeroBytesAndBrokenUtf8) {
  EXPECT_EQ(json_name(std::string_view("{}\0{}", 5)), "options-zero-byte");
  EXPECT_EQ(json_name(R"({"a": "x\u0000y"})"), "options-zero-byte");
  EXPECT_EQ(json_name(R"({"a\u0000": "x"})"), "options-zero-byte");
  EXPECT_EQ(json_name("{\"a\": \"\xff\"}"), "json-syntax");
  EXPECT_EQ(json_name("{\"a\": \"\xed\xa0\x80\"}"), "json-syntax");
  EXPECT_EQ(json_name("{\"a\": \"\\ud800\"}"), "json-syntax");
}

TEST(Json, LosesEmptyObjectsAndLists) { EXPECT_EQ(json_name(R"({"a": {}, "b": []})"), "json:{}"); }

}  // namespace
}  // namespace ashlar
