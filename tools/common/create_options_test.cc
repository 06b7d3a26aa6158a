// Claims about -o lists.
#include "tools/common/create_options.h"

#include <gtest/gtest.h>

#include <array>

namespace ashlar::tools {
namespace {

TEST(OptionList, IsRefusedWhenAnElementIsEmpty) {
  for (const std::string_view list : {"", ",a=1", "a=1,"}) {
    const Result<void> checked = check_option_list(list);
    ASSERT_FALSE(checked.has_value()) << list;
    EXPECT_EQ(checked.error().message(), "Invalid option list: " + std::string(list));
  }
  EXPECT_TRUE(check_option_list("a=1,b=x,,y").has_value());
}

TEST(OptionList, AsksForHelpOnlyByAWholeElement) {
  EXPECT_TRUE(asks_for_option_help(std::array<std::string_view, 2>{"a=1", "b=2,help"}));
  EXPECT_TRUE(asks_for_option_help(std::array<std::string_view, 1>{"?"}));
  EXPECT_FALSE(asks_for_option_help(std::array<std::string_view, 1>{"a=help,helper"}));
  EXPECT_FALSE(asks_for_option_help(std::array<std::string_view, 1>{"a=x,,help"}));
}

}  // namespace
}  // namespace ashlar::tools
