// The claims of TLS credentials: what is found wrong with files and members before any handshake.
#include <gtest/gtest.h>

#include <filesystem>

#include "async/tls.h"
#include "testing/tls_files.h"

namespace ashlar {
namespace {

using testing::TlsFiles;
using Credentials = std::shared_ptr<const TlsCredentials>;

Result<Credentials> load(const std::string& type, const std::string& members,
                         std::optional<std::string> password = {}) {
  OptionDict dict = *OptionDict::parse_key_value(members);
  Result<TlsSettings> settings = TlsSettings::take(type, dict);
  if (!settings) return fail(settings.error());
  return TlsCredentials::load(*settings, std::move(password));
}

std::string reason(const Result<Credentials>& result) {
  return result ? "loaded" : std::string(result.error().reason());
}

TEST(TlsCredentials, SaysWhichMemberIsWrong) {
  EXPECT_EQ(reason(load("tls-creds-none", "dir=x")), "tls-type");
  EXPECT_EQ(reason(load("tls-creds-x509", "endpoint=server")), "tls-dir-missing");
  EXPECT_EQ(reason(load("tls-creds-x509", "dir=x,endpoint=middle")), "option-choice");
  EXPECT_EQ(reason(load("tls-creds-psk", "dir=x,verify-peer=maybe")), "option-switch");
  EXPECT_EQ(reason(load("tls-creds-anon", "endpoint=server,priority=WEIRD")), "tls-priority");
  EXPECT_EQ(reason(load("tls-creds-anon", "priority=NORMAL:+RSA")), "tls-priority");
  EXPECT_EQ(reason(load("tls-creds-anon", "priority=NORMAL:-VERS-ALL")), "tls-priority");
  OptionDict members = *OptionDict::parse_key_value("dir=x,username=u,passwordid=p");
  const Result<TlsSettings> settings = TlsSettings::take("tls-creds-x509", members);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->password_id, "p");
  EXPECT_EQ(members.text("username"), "u") << "members of other types are left";
  EXPECT_EQ(TlsSettings::describe("tls-creds-psk").back().name, "username");
  EXPECT_TRUE(TlsSettings::describe("secret").empty());
}

TEST(TlsCredentials, NamesTheFileThatIsMissing) {
  const TlsFiles files;
  const std::string folder = files.folder("server", {});
  const std::string members = "endpoint=server,dir=" + folder;
  EXPECT_EQ(reason(load("tls-creds-x509", members)), "loaded");
  for (const char* name : {"/server-key.pem", "/server-cert.pem", "/ca-cert.pem"}) {
    std::filesystem::rename(folder + name, folder + "/aside");
    const Result<Credentials> result = load("tls-creds-x509", members);
    EXPECT_EQ(reason(result), "tls-file") << name;
    EXPECT_EQ(result.error().values()[0], folder + name);
    std::filesystem::rename(folder + "/aside", folder + name);
  }
  EXPECT_EQ(reason(load("tls-creds-psk", members)), "tls-file");
}

TEST(TlsCredentials, FindsCertificatesThatNobodyWouldAccept) {
  const TlsFiles files;
  TlsFiles::Identity expired;
  expired.valid_from_s = -7200;
  expired.valid_for_s = 3600;
  TlsFiles::Identity early;
  early.valid_from_s = 3600;
  const std::string folders[] = {files.folder("expired", expired), files.folder("early", early)};
  for (const std::string& folder : folders) {
    const std::string members = "endpoint=server,dir=" + folder;
    EXPECT_EQ(reason(load("tls-creds-x509", members)), "tls-certificate") << folder;
    EXPECT_EQ(reason(load("tls-creds-x509", members + ",sanity-check=off")), "loaded");
  }
  TlsFiles::Identity client;
  client.use = TlsFiles::Identity::Use::kClient;
  const std::string mixed = files.folder("mixed", client);
  std::filesystem::rename(mixed + "/client-cert.pem", mixed + "/server-cert.pem");
  std::filesystem::rename(mixed + "/client-key.pem", mixed + "/server-key.pem");
  EXPECT_EQ(reason(load("tls-creds-x509", "endpoint=server,dir=" + mixed)), "tls-certificate");
}

TEST(TlsCredentials, FindsCertificatesOfAnotherAuthority) {
  const TlsFiles files;
  const TlsFiles others;
  const std::string folder = files.folder("server", {});
  std::filesystem::copy(others.authority_folder("ca") + "/ca-cert.pem", folder + "/ca-cert.pem",
                        std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(reason(load("tls-creds-x509", "endpoint=server,dir=" + folder)), "tls-certificate");
  std::filesystem::copy(folder + "/server-cert.pem", folder + "/ca-cert.pem",
                        std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(reason(load("tls-creds-x509", "endpoint=server,dir=" + folder)), "tls-certificate")
      << "not one of an authority";
}

TEST(TlsCredentials, NeedsThePasswordOfAnEncryptedKey) {
  const TlsFiles files;
  const std::string folder = files.folder("server", {});
  files.encrypt_key(folder + "/server-key.pem", "open sesame");
  const std::string members = "endpoint=server,dir=" + folder;
  EXPECT_EQ(reason(load("tls-creds-x509", members)), "tls-certificate");
  EXPECT_EQ(reason(load("tls-creds-x509", members, "wrong")), "tls-certificate");
  EXPECT_EQ(reason(load("tls-creds-x509", members, "open sesame")), "loaded");
}

TEST(TlsCredentials, ReadsKeysOfUsers) {
  const TlsFiles files;
  const std::string folder = files.key_folder("psk", "# users\nalice:00ff\r\n\nqemu:0102\n");
  EXPECT_EQ(reason(load("tls-creds-psk", "dir=" + folder)), "loaded");
  EXPECT_EQ(reason(load("tls-creds-psk", "username=alice,dir=" + folder)), "loaded");
  EXPECT_EQ(reason(load("tls-creds-psk", "username=eve,dir=" + folder)), "tls-user");
  EXPECT_EQ(reason(load("tls-creds-psk", "username=eve,endpoint=server,dir=" + folder)), "loaded");
  for (const char* line : {"alice", "alice:", ":00", "alice:0", "alice:0g", "alice:+1"}) {
    const std::string broken = files.key_folder("broken", line);
    EXPECT_EQ(reason(load("tls-creds-psk", "endpoint=server,dir=" + broken)), "tls-certificate")
        << line;
  }
}

}  // namespace
}  // namespace ashlar
