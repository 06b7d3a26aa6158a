// Claims about option dictionaries, key=value text and the conversion of single values.
#include "ashlar/options.h"

#include <gtest/gtest.h>

#include <array>

#include "ashlar/bytes.h"

namespace ashlar {
namespace {

/// The dictionary as "key=value;" in order.
std::string shown(const OptionDict& dict) {
  std::string text;
  for (const auto& [key, value] : dict.entries()) text += key + "=" + *dict.text(key) + ";";
  return text;
}
std::string parsed(std::string_view text, std::string_view implied_key = {}) {
  Result<OptionDict> dict = OptionDict::parse_key_value(text, implied_key);
  return dict ? shown(*dict) : std::string(dict.error().reason());
}

TEST(KeyValue, KeepsTheOrderOfFirstAppearanceAndTheLastValue) {
  EXPECT_EQ(parsed("b=1,a=2,b=3"), "b=3;a=2;");
}

TEST(KeyValue, ReadsADoubledCommaAsOne) {
  EXPECT_EQ(parsed("file=a,,b,size=1"), "file=a,b;size=1;");
  EXPECT_EQ(parsed("file=a,,,size=1"), "file=a,;size=1;");
  EXPECT_EQ(parsed("file=,,"), "file=,;");
}

TEST(KeyValue, SplitsAtTheFirstEqualsSignOnly) { EXPECT_EQ(parsed("a=b=c"), "a=b=c;"); }

TEST(KeyValue, ReadsANameAloneAsOn) { EXPECT_EQ(parsed("a=1,lazy"), "a=1;lazy=on;"); }

TEST(KeyValue, GivesAFirstElementWithoutANameToTheImpliedKey) {
  EXPECT_EQ(parsed("qcow2,size=1", "driver"), "driver=qcow2;size=1;");
  EXPECT_EQ(parsed("a,,b,size=1", "file"), "file=a,b;size=1;");
  EXPECT_EQ(parsed(",size=1", "file"), "file=;size=1;");
  EXPECT_EQ(parsed("driver=raw,qcow2", "file"), "driver=raw;qcow2=on;");
}

TEST(KeyValue, AllowsATrailingCommaAndNothingAtAll) {
  EXPECT_EQ(parsed("a=1,"), "a=1;");
  EXPECT_EQ(parsed("", "file"), "");
}

TEST(KeyValue, RefusesAnEmptyName) {
  EXPECT_EQ(parsed("=1"), "option-name");
  EXPECT_EQ(parsed("a=1,=2"), "option-name");
  EXPECT_EQ(parsed(",a=1"), "option-name");
}

TEST(KeyValue, LimitsLengthCountAndDepth) {
  EXPECT_EQ(parsed("a=" + std::string(OptionDict::kMaxTextLength, 'x')), "options-limit");
  std::string many;
  for (size_t i = 0; i <= OptionDict::kMaxEntries; ++i) many += "k" + std::to_string(i) + "=1,";
  EXPECT_EQ(parsed(many), "options-limit");
  std::string deep = "a";
  for (unsigned i = 1; i < OptionDict::kMaxDepth; ++i) deep += ".a";
  EXPECT_EQ(parsed(deep + "=1"), deep + "=1;");
  EXPECT_EQ(parsed(deep + ".a=1"), "options-limit");
  EXPECT_EQ(parsed(std::string_view("a=\0b", 4)), "options-zero-byte");
}

TEST(OptionDict, TakesASubtreeOutWhole) {
  OptionDict dict = *OptionDict::parse_key_value("file.driver=file,filex=1,file=2,file.a.b=3");
  EXPECT_TRUE(dict.has_subtree("file"));
  const OptionDict taken = dict.take_subtree("file");
  EXPECT_EQ(shown(taken), "driver=file;a.b=3;");
  EXPECT_EQ(shown(dict), "filex=1;file=2;");
  EXPECT_FALSE(dict.has_subtree("file"));
  dict.add_subtree("x", taken);
  EXPECT_EQ(shown(dict), "filex=1;file=2;x.driver=file;x.a.b=3;");
}

TEST(OptionDict, TakesSwitchesInAllTheirSpellings) {
  for (const char* text : {"on", "yes", "true", "y", "off", "no", "false", "n"}) {
    OptionDict dict;
    dict.set("s", std::string(text));
    const Result<std::optional<bool>> taken = dict.take_switch("s");
    ASSERT_TRUE(taken) << text;
    EXPECT_EQ(*taken, text[0] == 'y' || text[0] == 't' || std::string_view(text) == "on") << text;
    EXPECT_TRUE(dict.empty());
  }
  OptionDict dict = *OptionDict::parse_json(R"({"a": true, "b": 1, "c": "ON"})");
  EXPECT_EQ(*dict.take_switch("a"), true);
  EXPECT_EQ(*dict.take_switch("missing"), std::nullopt);
  EXPECT_EQ(dict.take_switch("b").error().reason(), "option-switch");
  EXPECT_EQ(dict.take_switch("c").error().message(), "option \"c\" wants on or off, not \"ON\"");
}

TEST(OptionDict, GivesTextAsItWouldBeTyped) {
  OptionDict dict = *OptionDict::parse_json(R"({"a": true, "b": false, "c": -5, "d": 0.5,
      "e": 1e300, "f": null, "g": 512.0, "h": 18446744073709551615})");
  EXPECT_EQ(shown(dict), "a=on;b=off;c=-5;d=0.5;e=1e+300;f=;g=512;h=18446744073709551615;");
  EXPECT_EQ(dict.take_text("c"), "-5");
  EXPECT_EQ(dict.take_text("c"), std::nullopt);
}

struct Sample {
  std::string filename;
  std::optional<std::string> label;
  bool drop = true;
  std::optional<bool> lazy;
  uint64_t size = 1_GiB;
  std::optional<uint64_t> count;
  std::string mode = "auto";
  static constexpr std::array<std::string_view, 3> kModes = {"auto", "on", "off"};
  static constexpr auto table() {
    return std::array{option("filename", &Sample::filename, "the file"),
                      option("label", &Sample::label, "a label"),
                      option("drop", &Sample::drop, "drop it", "on"),
                      option("lazy", &Sample::lazy, "be lazy"),
                      option("size", &Sample::size, "virtual size", "1G"),
                      number_option("count", &Sample::count, "how many"),
                      choice_option("mode", &Sample::mode, kModes, "when", "auto")};
  }
};

std::string refusal(std::string_view text) {
  OptionDict dict = *OptionDict::parse_key_value(text);
  Result<Sample> sample = take_options<Sample>(dict);
  return sample ? "accepted"
                : std::string(sample.error().reason()) + ": " + sample.error().message();
}

TEST(TakeOptions, FillsWhatIsThereAndLeavesTheRest) {
  OptionDict dict = *OptionDict::parse_key_value(
      "filename=a,label=l,drop=off,lazy=on,size=64k,count=010,mode=off,other=1");
  const Sample sample = *take_options<Sample>(dict);
  EXPECT_EQ(sample.filename, "a");
  EXPECT_EQ(sample.label, "l");
  EXPECT_FALSE(sample.drop);
  EXPECT_EQ(sample.lazy, true);
  EXPECT_EQ(sample.size, 64_KiB);
  EXPECT_EQ(sample.count, 8u);
  EXPECT_EQ(sample.mode, "off");
  EXPECT_EQ(shown(dict), "other=1;");
}

TEST(TakeOptions, ReadsNullAsAbsent) {
  OptionDict dict = *OptionDict::parse_json(R"({"size": null, "label": null})");
  const Sample sample = *take_options<Sample>(dict);
  EXPECT_EQ(sample.size, 1_GiB);
  EXPECT_EQ(sample.label, std::nullopt);
  EXPECT_TRUE(dict.empty());
}

TEST(TakeOptions, NamesOptionValueAndWhatIsAllowed) {
  EXPECT_EQ(refusal("drop=1"), "option-switch: option \"drop\" wants on or off, not \"1\"");
  EXPECT_EQ(refusal("size=1kb"),
            "option-size: option \"size\" wants a size such as 64k, not \"1kb\"");
  EXPECT_EQ(refusal("size=16E"),
            "option-range: option \"size\" wants less than 2^64 bytes, not \"16E\"");
  EXPECT_EQ(refusal("count=1k"), "option-number: option \"count\" wants a number, not \"1k\"");
  EXPECT_EQ(refusal("mode=maybe"),
            "option-choice: option \"mode\" wants auto, on or off, not \"maybe\"");
}

TEST(TakeOptions, TakesNoSwitchOrFractionForASize) {
  OptionDict dict = *OptionDict::parse_json(R"({"size": true})");
  EXPECT_EQ(take_options<Sample>(dict).error().reason(), "option-size");
  dict = *OptionDict::parse_json(R"({"size": 512.5})");
  EXPECT_EQ(take_options<Sample>(dict).error().reason(), "option-size");
  dict = *OptionDict::parse_json(R"({"size": -1})");
  EXPECT_EQ(take_options<Sample>(dict).error().reason(), "option-size");
}

TEST(DescribeOptions, ListsTheRowsOfATable) {
  const std::vector<OptionDescription> rows = describe_options<Sample>();
  ASSERT_EQ(rows.size(), 7u);
  EXPECT_EQ(rows[2].name, "drop");
  EXPECT_EQ(rows[2].type, OptionType::kSwitch);
  EXPECT_EQ(rows[2].default_text, "on");
  EXPECT_EQ(rows[4].type, OptionType::kSize);
  EXPECT_EQ(rows[5].type, OptionType::kNumber);
  EXPECT_EQ(rows[6].choices.size(), 3u);
}

}  // namespace
}  // namespace ashlar
