// The claims of TLS over streams in memory: who is let in, who is not, and what they are told.
#include "async/tls.h"

#include <gtest/gtest.h>

#include "async/sync.h"
#include "testing/memory_stream.h"
#include "testing/simulated_runtime.h"
#include "testing/tls_files.h"

namespace ashlar {
namespace {

using testing::memory_stream_pair;
using testing::MemoryStreamShape;
using testing::TlsFiles;
using Credentials = std::shared_ptr<const TlsCredentials>;
using Use = TlsFiles::Identity::Use;

Result<Credentials> load(const std::string& type, const std::string& members,
                         std::optional<std::string> password = {}) {
  OptionDict dict = *OptionDict::parse_key_value(members);
  Result<TlsSettings> settings = TlsSettings::take(type, dict);
  EXPECT_TRUE(dict.empty());
  if (!settings) return fail(settings.error());
  Result<Credentials> loaded = TlsCredentials::load(*settings, std::move(password));
  if (!loaded) ADD_FAILURE() << loaded.error().message();
  return loaded;
}

struct Sides {
  Sides() {}
  Result<TlsConnection> client = TlsConnection();
  Result<TlsConnection> server = TlsConnection();
};

Task<void> serve(std::unique_ptr<Stream> plain, Credentials credentials,
                 Result<TlsConnection>& result) {
  result = co_await tls_accept(std::move(plain), std::move(credentials));
}

struct Meeting {
  Credentials client, server;
  std::string hostname = "localhost";
  MemoryStreamShape shape{};
};

Task<void> meet(Meeting meeting, Sides& sides) {
  auto [here, there] = memory_stream_pair(meeting.shape, meeting.shape);
  Scope scope;
  scope.spawn(serve(std::move(there), meeting.server, sides.server));
  sides.client = co_await tls_connect(std::move(here), meeting.client, meeting.hostname);
  co_await scope.join();
}

class Tls : public ::testing::Test {
 protected:
  Tls() {
    server_folder_ = files_.folder("server", {});
    TlsFiles::Identity client;
    client.common_name = "laptop";
    client.names = {};
    client.use = Use::kClient;
    client_folder_ = files_.folder("client", client);
  }
  Credentials x509_server(const std::string& more = "") {
    return *load("tls-creds-x509", "endpoint=server,dir=" + server_folder_ + more);
  }
  Credentials x509_client(const std::string& more = "") {
    return *load("tls-creds-x509", "dir=" + client_folder_ + more);
  }
  Sides shake(Meeting meeting) {
    Sides sides;
    sync_wait(runtime_, meet(std::move(meeting), sides));
    return sides;
  }

  SimulatedRuntime runtime_{1};
  TlsFiles files_;
  std::string server_folder_, client_folder_;
};

ConstBuffers bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

Task<void> send(Stream& stream, const std::string& text, Result<void>& sent) {
  sent = co_await stream.write_all(bytes_of(text));
}

Task<std::string> carry(Stream& from, Stream& to, const std::string& text) {
  Scope scope;
  Result<void> sent;
  scope.spawn(send(from, text, sent));
  std::string got(text.size(), '\0');
  const MutableBuffers into(reinterpret_cast<std::byte*>(got.data()), got.size());
  const Result<void> read = co_await read_exactly(to, into);
  co_await scope.join();
  co_return read&& sent ? got : "failed";
}

TEST_F(Tls, CarriesDataBothWaysHoweverTheBytesCome) {
  std::string text;
  for (int number = 0; number < 60'000; ++number) text += std::to_string(number);
  for (const auto reads : {MemoryStreamShape::Reads::kWhole, MemoryStreamShape::Reads::kRandom}) {
    Meeting meeting = {x509_client(), x509_server()};
    meeting.shape.reads = reads;
    const Sides sides = shake(meeting);
    ASSERT_TRUE(sides.client) << sides.client.error().message();
    ASSERT_TRUE(sides.server) << sides.server.error().message();
    Stream& client = *sides.client->stream;
    Stream& server = *sides.server->stream;
    EXPECT_EQ(sync_wait(runtime_, carry(client, server, text)), text);
    EXPECT_EQ(sync_wait(runtime_, carry(server, client, text)), text);
  }
}

TEST_F(Tls, TellsWhoThePeerHasProvedToBe) {
  const Sides sides = shake({x509_client(), x509_server()});
  ASSERT_TRUE(sides.client && sides.server);
  EXPECT_EQ(sides.server->peer_name, "C=GB,O=Ashlar,CN=laptop");
  EXPECT_EQ(sides.client->peer_name, "C=GB,O=Ashlar,CN=localhost");
}

TEST_F(Tls, BothVersionsWork) {
  for (const char* priority : {"NORMAL:-VERS-TLS1.3", "NORMAL:-VERS-TLS1.2", "SECURE256"}) {
    const std::string more = std::string(",priority=") + priority;
    const Sides sides = shake({x509_client(more), x509_server()});
    EXPECT_TRUE(sides.client && sides.server) << priority;
  }
  const Sides none = shake(
      {x509_client(",priority=NORMAL:-VERS-TLS1.3"), x509_server(",priority=NORMAL:-VERS-TLS1.2")});
  EXPECT_FALSE(none.client || none.server);
}

TEST_F(Tls, RefusesAServerOfAnotherName) {
  for (const char* name : {"example.org", "127.0.0.2", "local", "localhost.example.org"}) {
    const Sides sides = shake({x509_client(), x509_server(), name});
    ASSERT_FALSE(sides.client) << name;
    EXPECT_EQ(sides.client.error().code(), ErrorCode::kPermission);
    EXPECT_EQ(sides.client.error().reason(), "tls-handshake");
    EXPECT_NE(sides.client.error().message().find("mismatch"), std::string::npos)
        << sides.client.error().message();
  }
  EXPECT_TRUE(shake({x509_client(), x509_server(), "127.0.0.1"}).client);
  EXPECT_TRUE(shake({x509_client(",verify-peer=off"), x509_server(), "example.org"}).client);
  const Sides nameless = shake({x509_client(), x509_server(), ""});
  ASSERT_FALSE(nameless.client);
  EXPECT_EQ(nameless.client.error().reason(), "tls-hostname");
}

TEST_F(Tls, RefusesPeersOfAnotherAuthority) {
  const TlsFiles others;
  TlsFiles::Identity identity;
  identity.use = Use::kClient;
  const Credentials stranger =
      *load("tls-creds-x509", "verify-peer=off,dir=" + others.folder("client", identity));
  const Sides refused = shake({stranger, x509_server()});
  ASSERT_FALSE(refused.server);
  EXPECT_EQ(refused.server.error().reason(), "tls-handshake");
  const Sides distrusted = shake({*load("tls-creds-x509", "dir=" + others.root().path("client")),
                                  x509_server(",verify-peer=off")});
  ASSERT_FALSE(distrusted.client);
  EXPECT_NE(distrusted.client.error().message().find("certificate of the server is refused"),
            std::string::npos)
      << distrusted.client.error().message();
}

TEST_F(Tls, AClientWithoutACertificateIsRefusedUnlessNobodyAsks) {
  const Credentials bare = *load("tls-creds-x509", "dir=" + files_.authority_folder("bare"));
  const Sides refused = shake({bare, x509_server()});
  ASSERT_FALSE(refused.server);
  const Sides open = shake({bare, x509_server(",verify-peer=off")});
  ASSERT_TRUE(open.server && open.client);
  EXPECT_EQ(open.server->peer_name, "");
}

TEST_F(Tls, SharedKeysLetKnownUsersIn) {
  const std::string lines = "alice:0123456789abcdef\nqemu:00ff00ff\n";
  const std::string server_folder = files_.key_folder("psk-server", lines);
  const std::string other_folder = files_.key_folder("psk-other", "alice:0000\nbob:1111\n");
  const auto client = [](const std::string& folder, const std::string& more) {
    return *load("tls-creds-psk", "dir=" + folder + more);
  };
  for (const char* priority : {"NORMAL", "NORMAL:-VERS-TLS1.3"}) {
    const Credentials server = *load("tls-creds-psk", std::string("endpoint=server,priority=") +
                                                          priority + ",dir=" + server_folder);
    const Sides alice = shake({client(server_folder, ",username=alice"), server, ""});
    ASSERT_TRUE(alice.client) << alice.client.error().message();
    ASSERT_TRUE(alice.server) << alice.server.error().message();
    EXPECT_EQ(alice.server->peer_name, "alice");
    EXPECT_EQ(sync_wait(runtime_, carry(*alice.client->stream, *alice.server->stream, "hi")), "hi");
    EXPECT_TRUE(shake({client(server_folder, ""), server, ""}).server);
    EXPECT_FALSE(shake({client(other_folder, ",username=alice"), server, ""}).server);
    EXPECT_FALSE(shake({client(other_folder, ",username=bob"), server, ""}).server);
  }
}

TEST_F(Tls, AnonymousPeersMeetWithoutProof) {
  const Credentials server = *load("tls-creds-anon", "endpoint=server");
  const Credentials client = *load("tls-creds-anon", "endpoint=client");
  const Sides sides = shake({client, server, ""});
  ASSERT_TRUE(sides.client) << sides.client.error().message();
  ASSERT_TRUE(sides.server) << sides.server.error().message();
  EXPECT_EQ(sync_wait(runtime_, carry(*sides.server->stream, *sides.client->stream, "hi")), "hi");
  EXPECT_FALSE(shake({client, x509_server()}).client);
  EXPECT_FALSE(shake({x509_client(), server}).client);
}

TEST_F(Tls, AConnectionThatBreaksAnywhereIsAnErrorOrAnEnd) {
  const Credentials client = x509_client();
  const Credentials server = x509_server();
  unsigned failed = 0;
  for (uint64_t cut = 0; cut < 4000; cut += 53) {
    Meeting meeting = {client, server};
    meeting.shape.cut_after = cut;
    const Sides sides = shake(meeting);
    failed += sides.client ? 0 : 1;
    if (sides.client && sides.server) break;
    EXPECT_TRUE(!sides.client || !sides.server);
  }
  EXPECT_GT(failed, 5U);
}

Task<void> babble(std::unique_ptr<Stream> stream) {
  std::byte first;
  const MutableBuffers into(&first, 1);
  (void)co_await read_exactly(*stream, into);
  (void)co_await stream->write_all(bytes_of("HTTP/1.1 400 Bad Request\r\n\r\n"));
}

Task<Result<TlsConnection>> connect_to_babble(Credentials credentials) {
  auto [here, there] = memory_stream_pair();
  Scope scope;
  scope.spawn(babble(std::move(there)));
  Result<TlsConnection> result =
      co_await tls_connect(std::move(here), std::move(credentials), "localhost");
  co_await scope.join();
  co_return std::move(result);
}

TEST_F(Tls, WhatIsNoTlsIsAnError) {
  const Result<TlsConnection> result = sync_wait(runtime_, connect_to_babble(x509_client()));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason(), "tls-handshake");
}

TEST_F(Tls, TheWrongEndIsRefusedAtOnce) {
  const Sides sides = shake({x509_server(), x509_client()});
  ASSERT_FALSE(sides.client || sides.server);
  EXPECT_EQ(sides.client.error().reason(), "tls-endpoint");
  EXPECT_EQ(sides.server.error().reason(), "tls-endpoint");
}

}  // namespace
}  // namespace ashlar
