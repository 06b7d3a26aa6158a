// The claims of authorizations: who is let in by which rules.
#include "async/authorization.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "testing/temporary_folder.h"

namespace ashlar {
namespace {

Result<std::unique_ptr<Authorization>> make(const char* type, const std::string& json) {
  return Authorization::make(type, *OptionDict::parse_json(json));
}

bool lets_in(const std::string& pattern, const std::string& name) {
  const auto made =
      make("authz-list",
           R"({"rules": [{"format": "glob", "policy": "allow", "match": ")" + pattern + "\"}]}");
  return (*made)->allows(name);
}

TEST(Authorization, SimpleLetsOneNameIn) {
  const auto made = make("authz-simple", R"({"identity": "CN=laptop"})");
  ASSERT_TRUE(made);
  EXPECT_TRUE((*made)->allows("CN=laptop"));
  EXPECT_FALSE((*made)->allows("CN=laptop2"));
  EXPECT_FALSE((*made)->allows(""));
}

TEST(Authorization, TheFirstRuleThatMatchesDecides) {
  const auto made = make("authz-list", R"({"policy": "allow", "rules": [
      {"match": "CN=bad", "policy": "deny"},
      {"match": "CN=b*", "policy": "allow", "format": "glob"},
      {"match": "*", "policy": "deny", "format": "glob"}]})");
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_FALSE((*made)->allows("CN=bad"));
  EXPECT_TRUE((*made)->allows("CN=badly"));
  EXPECT_FALSE((*made)->allows("CN=other"));
}

TEST(Authorization, WithoutAMatchThePolicyDecidesAndThatIsToDeny) {
  EXPECT_FALSE((*make("authz-list", "{}"))->allows("x"));
  EXPECT_TRUE((*make("authz-list", R"({"policy": "allow"})"))->allows("x"));
  const auto exact = make("authz-list", R"({"rules": [{"match": "*", "policy": "allow"}]})");
  EXPECT_FALSE((*exact)->allows("x"));
  EXPECT_TRUE((*exact)->allows("*"));
}

TEST(Authorization, PatternsMatchWholeNames) {
  EXPECT_TRUE(lets_in("C=GB,*,CN=lap?op", "C=GB,O=a/b,CN=laptop"));
  EXPECT_FALSE(lets_in("C=GB,*,CN=lap?op", "C=GB,CN=laptop"));
  EXPECT_TRUE(lets_in("*a*b*", "xxaxxbxx"));
  EXPECT_TRUE(lets_in("*ab", "aab"));
  EXPECT_FALSE(lets_in("*ab", "aba"));
  EXPECT_FALSE(lets_in("a", "ab"));
  EXPECT_FALSE(lets_in("ab?", "ab"));
  EXPECT_FALSE(lets_in("", "a"));
  // Would take for ever if every star were tried at every place.
  std::string stars;
  for (int count = 0; count < 200; ++count) stars += "*a";
  EXPECT_FALSE(lets_in(stars + "b", std::string(2000, 'a')));
}

TEST(Authorization, RefusesWhatIsNoRule) {
  const char* const wrong[] = {
      R"({"policy": "maybe"})",
      R"({"rules": [{"match": "a"}]})",
      R"({"rules": [{"policy": "deny"}]})",
      R"({"rules": [{"match": "a", "policy": "deny", "format": "regex"}]})",
      R"({"rules": [{"match": "a", "policy": "deny", "x": 1}]})",
      R"({"rules": "all"})",
      R"({"rules": {"first": {"match": "a", "policy": "deny"}}})",
      R"({"identity": "a"})"};
  for (const char* json : wrong) {
    const auto made = make("authz-list", json);
    ASSERT_FALSE(made) << json;
    EXPECT_EQ(made.error().reason(), "authz-member") << json;
  }
  EXPECT_EQ(make("authz-pam", R"({"service": "s"})").error().reason(), "authz-type");
  EXPECT_FALSE(make("authz-simple", "{}"));
}

TEST(Authorization, RulesInAFileAreReadAgainWhenItHasChanged) {
  const TemporaryFolder folder;
  const std::string path = folder.path("rules");
  const auto write = [&path](const std::string& text) { std::ofstream(path) << text; };
  EXPECT_EQ(make("authz-list-file", "{\"filename\": \"" + path + "\"}").error().reason(),
            "authz-file");
  write(R"({"rules": [{"match": "first", "policy": "allow"}]})");
  const auto follows = make("authz-list-file", "{\"filename\": \"" + path + "\"}");
  const auto stays =
      make("authz-list-file", "{\"refresh\": false, \"filename\": \"" + path + "\"}");
  ASSERT_TRUE(follows && stays);
  EXPECT_TRUE((*follows)->allows("first"));
  write(R"({"rules": [{"match": "second one", "policy": "allow"}]})");
  EXPECT_FALSE((*follows)->allows("first"));
  EXPECT_TRUE((*follows)->allows("second one"));
  EXPECT_TRUE((*stays)->allows("first"));
  write("{");
  EXPECT_FALSE((*follows)->allows("second one"));
  std::filesystem::remove(path);
  EXPECT_FALSE((*follows)->allows("second one"));
  write(R"({"policy": "allow"})");
  EXPECT_TRUE((*follows)->allows("anybody"));
}

}  // namespace
}  // namespace ashlar
