// Arguments against their types, and what clients are told.
#include "monitor/check.h"

#include <gtest/gtest.h>

namespace ashlar::monitor {
namespace {

struct Catalog {
  Catalog() {
    types.define_object("Limits", "*low:int, high:count");
    types.define_alternate("Ref", {&types.type("Node"), &types.type("str")});
    Type& node = types.define_object("Node", "kind:(file raw), *name:str, *limits:Limits");
    node.tag = "kind";
    node.cases["file"] = &types.define_object("File", "path:str, *sizes:[count], *lock:bool");
    node.cases["raw"] = &types.define_object("Raw", "file:Ref");
  }
  std::string problem(std::string_view text, Source source = Source::kJson) {
    value = JsonInput::parse(text);
    return check_members(types.type("Node"), value, {}, source).value_or("");
  }
  Types types;
  JsonInput value;
};

TEST(Check, AcceptsWhatFits) {
  Catalog catalog;
  EXPECT_EQ(catalog.problem(R"({"kind":"file","path":"a","sizes":[1,2],"lock":true})"), "");
  EXPECT_EQ(catalog.problem(R"({"kind":"raw","file":{"kind":"file","path":"a"}})"), "");
  EXPECT_EQ(catalog.problem(R"({"kind":"raw","file":"node"})"), "");
}

TEST(Check, NamesWhatIsMissing) {
  Catalog catalog;
  EXPECT_EQ(catalog.problem("{}"), "Parameter 'kind' is missing");
  EXPECT_EQ(catalog.problem(R"({"kind":"file"})"), "Parameter 'path' is missing");
  EXPECT_EQ(catalog.problem(R"({"kind":"raw","file":{"kind":"file"}})"),
            "Parameter 'file.path' is missing");
}

TEST(Check, NamesWhatIsUnexpected) {
  Catalog catalog;
  EXPECT_EQ(catalog.problem(R"({"kind":"file","path":"a","file":"b"})"),
            "Parameter 'file' is unexpected");
  EXPECT_EQ(catalog.problem(R"({"kind":"raw","file":{"kind":"file","path":"a","x":1}})"),
            "Parameter 'file.x' is unexpected");
}

TEST(Check, NamesTheTypeThatIsWanted) {
  Catalog catalog;
  EXPECT_EQ(catalog.problem(R"({"kind":1})"),
            "Invalid parameter type for 'kind', expected: string");
  EXPECT_EQ(catalog.problem(R"({"kind":"zip"})"), "Parameter 'kind' does not accept value 'zip'");
  EXPECT_EQ(catalog.problem(R"({"kind":"raw","file":7})"),
            "Invalid parameter type for 'file', expected: Ref");
  EXPECT_EQ(catalog.problem(R"({"kind":"file","path":"a","sizes":[1,-1]})"),
            "Invalid parameter type for 'sizes[1]', expected: integer");
  EXPECT_EQ(catalog.problem(R"({"kind":"file","path":"a","lock":"on"})"),
            "Invalid parameter type for 'lock', expected: boolean");
  EXPECT_EQ(catalog.problem(R"({"kind":"file","path":"a","limits":{"low":1.5}})"),
            "Invalid parameter type for 'limits.low', expected: integer");
}

TEST(Check, TurnsTextOfACommandLineIntoTypes) {
  Catalog catalog;
  EXPECT_EQ(catalog.problem(R"({"kind":"file","path":"a","sizes":["1k","2"],"lock":"off"})",
                            Source::kText),
            "");
  EXPECT_EQ(catalog.value["sizes"], (JsonInput{1024, 2}));
  EXPECT_EQ(catalog.value["lock"], false);
  EXPECT_EQ(catalog.problem(R"({"kind":"file","path":"a","lock":"maybe"})", Source::kText),
            "Parameter 'lock' expects 'on' or 'off'");
  EXPECT_EQ(catalog.problem(R"({"kind":"file","path":"a","sizes":["1x"]})", Source::kText),
            "Parameter 'sizes[0]' expects integer");
}

}  // namespace
}  // namespace ashlar::monitor
