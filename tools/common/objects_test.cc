// Claims about --object.
#include "tools/common/objects.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "testing/tls_files.h"

namespace ashlar::tools {
namespace {

// 32 bytes, "0123456789abcdef0123456789abcdef", and the vector "fedcba9876543210".
constexpr std::string_view kKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
constexpr std::string_view kVector = "ZmVkY2JhOTg3NjU0MzIxMA==";

std::string refusal(Objects& objects, std::string_view text) {
  const Result<void> added = objects.add(text);
  EXPECT_FALSE(added.has_value()) << text;
  return added ? std::string() : added.error().message();
}

TEST(Objects, KeepSecretsGivenInAnyForm) {
  Objects objects;
  ASSERT_TRUE(objects.add("secret,id=plain,data=a,,b").has_value());
  ASSERT_TRUE(objects.add("secret,id=coded,data=/wA=,format=base64").has_value());
  ASSERT_TRUE(objects.add(R"({"qom-type": "secret", "id": "json", "data": "c"})").has_value());
  EXPECT_EQ(*objects.find_secret("plain"), "a,b");
  EXPECT_EQ(*objects.find_secret("coded"), std::string("\xff\0", 2));
  EXPECT_EQ(*objects.find_secret("json"), "c");
  EXPECT_EQ(objects.find_secret("none"), nullptr);
}

TEST(Objects, DecodeBase64OfEveryLengthWithAndWithoutPadding) {
  const std::vector<std::pair<std::string_view, std::string>> samples = {
      {"", ""},       {"eA==", "x"},   {"eA", "x"},
      {"eHk=", "xy"}, {"eHl6", "xyz"}, {"+/+/", "\xfb\xff\xbf"}};
  for (const auto& [coded, plain] : samples) {
    Objects objects;
    const std::string text = "secret,id=s,format=base64,data=" + std::string(coded);
    ASSERT_TRUE(objects.add(text).has_value()) << coded;
    EXPECT_EQ(*objects.find_secret("s"), plain) << coded;
  }
}

TEST(Objects, DecryptASecretWithAnother) {
  Objects objects;
  ASSERT_TRUE(objects.add("secret,id=k,format=base64,data=" + std::string(kKey)).has_value());
  const std::string start = "secret,id=s,format=base64,keyid=k,data=63UyvuDtRsXwP3vHu2LFPg==";
  EXPECT_EQ(refusal(objects, start), "IV is required to decrypt secret");
  EXPECT_EQ(refusal(objects, start + ",iv=eA=="), "IV should be 16 bytes in length not 1");
  EXPECT_EQ(objects.find_secret("s"), nullptr);
  ASSERT_TRUE(objects.add(start + ",iv=" + std::string(kVector)));
  EXPECT_EQ(*objects.find_secret("s"), "pass");
}

TEST(Objects, RefuseWhatIsNoSecret) {
  Objects objects;
  EXPECT_EQ(refusal(objects, ""), "Parameter 'qom-type' is missing");
  EXPECT_EQ(refusal(objects, "bogus,id=s"), "Parameter 'qom-type' does not accept value 'bogus'");
  EXPECT_EQ(refusal(objects, "secret,data=x"), "Parameter 'id' is missing");
  EXPECT_TRUE(refusal(objects, "secret,id=1s,data=x").starts_with("Parameter 'id' expects an id"));
  EXPECT_EQ(refusal(objects, "secret,id=s"), "Either 'file' or 'data' must be provided");
  EXPECT_EQ(refusal(objects, "secret,id=s,data=x,file=y"),
            "'file' and 'data' are mutually exclusive");
  EXPECT_EQ(refusal(objects, "secret,id=s,data=x,bogus=1"), "Parameter 'bogus' is unexpected");
  EXPECT_EQ(refusal(objects, R"({"qom-type": "secret", "id": "s", "data": 1})"),
            "Invalid parameter type for 'data', expected: string");
}

TEST(Objects, RefuseWhatCannotBeDecoded) {
  Objects objects;
  ASSERT_TRUE(objects.add("secret,id=k,data=short").has_value());
  EXPECT_EQ(refusal(objects, "secret,id=s,data=@@,format=base64"),
            "Base64 data contains invalid characters");
  EXPECT_EQ(refusal(objects, "secret,id=s,data=e,format=base64"),
            "Base64 data contains invalid characters");
  EXPECT_EQ(refusal(objects, "secret,id=s,data=eA==,format=hex"),
            "Parameter 'format' does not accept value 'hex'");
  EXPECT_EQ(refusal(objects, "secret,id=s,data=eA==,format=base64,keyid=none"),
            "No secret with id 'none'");
  EXPECT_EQ(refusal(objects, "secret,id=s,data=eA==,format=base64,keyid=k"),
            "Key should be 32 bytes in length");
}

TEST(Objects, RefuseASecondSecretOfTheSameName) {
  Objects objects;
  ASSERT_TRUE(objects.add("secret,id=s,data=x").has_value());
  EXPECT_EQ(refusal(objects, "secret,id=s,data=y"),
            "attempt to add duplicate property 's' to object (type 'container')");
  EXPECT_EQ(*objects.find_secret("s"), "x");
}

TEST(Objects, KeepTlsCredentialsBesideSecrets) {
  const testing::TlsFiles files;
  const std::string folder = files.folder("server", {});
  files.encrypt_key(folder + "/server-key.pem", "pass");
  Objects objects;
  ASSERT_TRUE(objects.add("secret,id=s,data=pass").has_value());
  const std::string members = "tls-creds-x509,endpoint=server,passwordid=s,dir=" + folder;
  EXPECT_TRUE(objects.add(members + ",id=t").has_value());
  EXPECT_TRUE(objects.tls_credentials("t").has_value());
  EXPECT_EQ(objects.tls_credentials("s").error().reason(), "tls-type");
  EXPECT_EQ(objects.tls_credentials("u").error().reason(), "tls-not-found");
  EXPECT_EQ(objects.secret("t").error().reason(), "secret-not-found");
  EXPECT_EQ(refusal(objects, members + ",id=s"),
            "attempt to add duplicate property 's' to object (type 'container')");
  EXPECT_EQ(refusal(objects, members + ",id=v,bogus=1"), "Parameter 'bogus' is unexpected");
  EXPECT_EQ(refusal(objects, members), "Parameter 'id' is missing");
  EXPECT_EQ(objects.add("tls-creds-anon,id=a,dir=" + folder).has_value(), true);
  EXPECT_EQ(object_help("tls-creds-anon,help"),
            "tls-creds-anon options:\n  dir=<string>\n  endpoint=<QCryptoTLSCredsEndpoint>\n"
            "  priority=<string>\n  verify-peer=<bool>\n");
}

}  // namespace
}  // namespace ashlar::tools
