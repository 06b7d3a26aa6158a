// Claims about the parsing of a command's words.
#include "tools/common/arguments.h"

#include <gtest/gtest.h>

#include <string>

namespace ashlar::tools {
namespace {

constexpr OptionRow kOptions[] = {
    {.name = "format", .letter = 'f', .value = "FMT", .help = "format"},
    {.name = "output", .value = "FORM", .help = "form"},
    {.name = "quiet", .letter = 'q', .help = "say less"},
    {.name = "old-format", .letter = 'F', .value = "FMT", .same_as = "format"},
};
constexpr Command kCommand{.name = "act",
                           .operands = "FILE",
                           .summary = "does something",
                           .options = kOptions,
                           .run = nullptr};

class Parsing : public testing::Test {
 protected:
  std::expected<Arguments, int> parse(std::vector<std::string> words,
                                      const Command& command = kCommand) {
    words_ = std::move(words);
    std::vector<char*> pointers;
    for (std::string& word : words_) pointers.push_back(word.data());
    return parse_arguments(program_, command, pointers);
  }

  Program program_{"bin/our-tool", "our-tool"};
  std::vector<std::string> words_;
};

TEST_F(Parsing, AcceptsLettersLongFormsPrefixesAndBothWaysOfGivingAValue) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"-f", "raw"}, {"-fraw"}, {"--format", "raw"}, {"--form=raw"}}) {
    const auto arguments = parse(words);
    ASSERT_TRUE(arguments.has_value());
    EXPECT_EQ(arguments->value("format"), "raw");
  }
}

TEST_F(Parsing, MixesOptionsAndOperandsUntilTwoDashes) {
  const auto arguments = parse({"one", "-q", "two", "--", "-f"});
  ASSERT_TRUE(arguments.has_value());
  EXPECT_TRUE(arguments->has("quiet"));
  ASSERT_EQ(arguments->operands().size(), 3U);
  EXPECT_EQ(arguments->operands()[2], "-f");
}

TEST_F(Parsing, KeepsTheOrderAndLetsTheLastValueWin) {
  const auto arguments = parse({"-f", "a", "-q", "-F", "b"});
  ASSERT_TRUE(arguments.has_value());
  EXPECT_EQ(arguments->value("format"), "b");
  EXPECT_EQ(arguments->values("format"), (std::vector<std::string_view>{"a", "b"}));
  EXPECT_EQ(arguments->given()[1].option, "quiet");
}

TEST_F(Parsing, RefusesAnUnknownOptionInTheNameOfTheCommand) {
  testing::internal::CaptureStderr();
  const auto arguments = parse({"--bogus", "x"});
  const std::string complaint = testing::internal::GetCapturedStderr();
  ASSERT_FALSE(arguments.has_value());
  EXPECT_EQ(arguments.error(), kFailure);
  EXPECT_EQ(complaint,
            "bin/our-tool act: unrecognized option '--bogus'\n"
            "Try 'bin/our-tool act --help' for more information\n");
}

TEST_F(Parsing, RefusesAnOptionWithoutItsValue) {
  testing::internal::CaptureStderr();
  EXPECT_FALSE(parse({"-f"}).has_value());
  EXPECT_NE(testing::internal::GetCapturedStderr().find("requires an argument"), std::string::npos);
}

TEST_F(Parsing, TakesANegativeLastWordAsAnOperandOnlyWhereTheCommandSaysSo) {
  Command command = kCommand;
  command.last_word = Command::LastWord::kMayBeNegative;
  const auto arguments = parse({"file", "-512k"}, command);
  ASSERT_TRUE(arguments.has_value());
  EXPECT_EQ(arguments->operands()[1], "-512k");
  testing::internal::CaptureStderr();
  EXPECT_FALSE(parse({"file", "-512k"}).has_value());
  testing::internal::GetCapturedStderr();
}

TEST_F(Parsing, HelpNamesEveryOptionWithHelpAndEndsInSuccess) {
  testing::internal::CaptureStdout();
  const auto arguments = parse({"--help"});
  program_.out().flush();
  const std::string help = testing::internal::GetCapturedStdout();
  ASSERT_FALSE(arguments.has_value());
  EXPECT_EQ(arguments.error(), kSuccess);
  EXPECT_NE(help.find("  -f, --format FMT"), std::string::npos);
  EXPECT_NE(help.find("  --output FORM"), std::string::npos);
  EXPECT_EQ(help.find("old-format"), std::string::npos);
}

TEST_F(Parsing, NamesASurplusOperandWhereSeveralAreAllowed) {
  testing::internal::CaptureStderr();
  const auto three = parse({"a", "b", "c"});
  ASSERT_TRUE(three.has_value());
  EXPECT_FALSE(check_operands(program_, *three, {1, 2}, "Expecting a file"));
  EXPECT_FALSE(check_operands(program_, *three, {1, 1}, "Expecting one file"));
  EXPECT_TRUE(check_operands(program_, *three, {1, 3}, "Expecting a file"));
  const std::string complaints = testing::internal::GetCapturedStderr();
  EXPECT_NE(complaints.find("our-tool: Unexpected argument: c\n"), std::string::npos);
  EXPECT_NE(complaints.find("our-tool: Expecting one file\n"), std::string::npos);
}

}  // namespace
}  // namespace ashlar::tools
