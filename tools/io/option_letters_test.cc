// Claims about the options of the io tool's commands.
#include "tools/io/option_letters.h"

#include <gtest/gtest.h>

namespace ashlar::tools::io {
namespace {

std::optional<OptionLetters> parse(std::vector<std::string>& words, const char* allowed) {
  return OptionLetters::parse(words, allowed);
}

TEST(OptionLetters, SeparatesLettersValuesAndOperands) {
  std::vector<std::string> words{"read", "-qP", "7", "0", "512"};
  const auto letters = parse(words, "qP:v");
  ASSERT_TRUE(letters);
  EXPECT_TRUE(letters->has('q'));
  EXPECT_FALSE(letters->has('v'));
  EXPECT_EQ(letters->value('P'), "7");
  ASSERT_EQ(letters->operands().size(), 2u);
  EXPECT_EQ(letters->operands()[1], "512");
}

TEST(OptionLetters, TakesOptionsBehindOperands) {
  std::vector<std::string> words{"read", "0", "-q", "512"};
  const auto letters = parse(words, "q");
  ASSERT_TRUE(letters);
  EXPECT_TRUE(letters->has('q'));
  EXPECT_EQ(letters->operands().size(), 2u);
}

TEST(OptionLetters, RefusesWhatIsNotAllowed) {
  std::vector<std::string> words{"read", "-X", "0"};
  EXPECT_FALSE(parse(words, "q"));
}

TEST(OptionLetters, RefusesAMissingValue) {
  std::vector<std::string> words{"read", "-P"};
  EXPECT_FALSE(parse(words, "P:"));
}

TEST(OptionLetters, KeepsRepeatedValuesInOrder) {
  std::vector<std::string> words{"open", "-o", "a=1", "-o", "b=2"};
  const auto letters = parse(words, "o:");
  ASSERT_TRUE(letters);
  EXPECT_EQ(letters->value('o'), "b=2");
  const std::vector<std::string_view> expected{"a=1", "b=2"};
  EXPECT_EQ(letters->values('o'), expected);
}

TEST(OptionLetters, StartsOverWithEveryLine) {
  std::vector<std::string> first{"read", "-q", "0"};
  std::vector<std::string> second{"read", "-v", "1"};
  ASSERT_TRUE(parse(first, "qv"));
  const auto letters = parse(second, "qv");
  ASSERT_TRUE(letters);
  EXPECT_TRUE(letters->has('v'));
  EXPECT_FALSE(letters->has('q'));
}

}  // namespace
}  // namespace ashlar::tools::io
