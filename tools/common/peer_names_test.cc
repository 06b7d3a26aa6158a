// Claims about the order of members in json: names.
#include "tools/common/peer_names.h"

#include <gtest/gtest.h>

namespace ashlar::tools {
namespace {

std::string ordered(std::string_view json) {
  return in_shown_order(*OptionDict::parse_json(json)).to_json_name();
}

TEST(ShownOrder, PutsAFewMembersBeforeTheDriverAtEveryLevel) {
  EXPECT_EQ(ordered(R"({"driver": "raw", "size": "1k", "offset": "0",
                        "file": {"driver": "raw", "offset": 1, "file": {"filename": "a"}}})"),
            R"(json:{"offset": "0", "driver": "raw", "size": "1k", )"
            R"("file": {"offset": 1, "driver": "raw", "file": {"filename": "a"}}})");
}

TEST(ShownOrder, KeepsLists) {
  EXPECT_EQ(ordered(R"({"driver": "quorum", "children": [{"driver": "a"}, {"driver": "b"}]})"),
            R"(json:{"children": [{"driver": "a"}, {"driver": "b"}], "driver": "quorum"})");
}

}  // namespace
}  // namespace ashlar::tools
