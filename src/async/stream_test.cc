// The claims of streams and listeners over sockets and pipes, with each of the two engines.
#include "ashlar/stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

#include "async/connector.h"
#include "async/on_loop.h"
#include "async/pipe_stream.h"
#include "async/socket_name.h"
#include "async/socket_stream.h"
#include "async/sync.h"
#include "testing/temporary_folder.h"

namespace ashlar {
namespace {

using Files = RuntimeOptions::FileBackend;
using StreamResult = Result<std::unique_ptr<Stream>>;
using ListenerResult = Result<std::unique_ptr<Listener>>;

class StreamTest : public testing::TestWithParam<Files> {
 protected:
  std::unique_ptr<Runtime> runtime_ = Runtime::create({.files = GetParam()});
  TemporaryFolder folder_;

  ListenerResult listen(SocketAddress address) {
    return sync_wait(*runtime_, Listener::open(std::move(address)));
  }
  StreamResult connect(SocketAddress address) {
    return sync_wait(*runtime_, connect_stream(std::move(address)));
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, StreamTest, testing::Values(Files::kAutomatic, Files::kThreads),
                         [](const auto& info) {
                           return info.param == Files::kAutomatic ? "Ring" : "Threads";
                         });

ConstBuffers bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

Task<std::string> read_text(Stream& stream, size_t size) {
  std::string text(size, '\0');
  const MutableBuffers into(reinterpret_cast<std::byte*>(text.data()), text.size());
  const Result<void> read = co_await read_exactly(stream, into);
  co_return read ? text : read.error().message();
}

Task<void> write_text(Stream& stream, const std::string& text, Result<void>& result) {
  result = co_await stream.write_all(bytes_of(text));
}

/// What arrives of `text` on its way from `from` to `to`.
Task<std::string> carry(Stream& from, Stream& to, const std::string& text) {
  Scope scope;
  Result<void> written;
  scope.spawn(write_text(from, text, written));
  std::string got = co_await read_text(to, text.size());
  co_await scope.join();
  EXPECT_TRUE(written) << written.error().message();
  co_return got;
}

Task<void> accept_one(Listener& listener, StreamResult& accepted) {
  accepted = co_await listener.accept();
}

/// Connects to a listener and sends a text each way.
Task<std::string> talk(Listener& listener, SocketAddress address) {
  Scope scope;
  StreamResult accepted = std::unique_ptr<Stream>();
  scope.spawn(accept_one(listener, accepted));
  StreamResult connected = co_await connect_stream(std::move(address));
  if (!connected) listener.close();
  co_await scope.join();
  if (!connected) co_return connected.error().message();
  if (!accepted) co_return accepted.error().message();
  const std::string there(300'000, 'a');
  const std::string arrived = co_await carry(**connected, **accepted, there);
  const std::string reply = "reply";
  const std::string back = co_await carry(**accepted, **connected, reply);
  co_return arrived == there&& back == reply ? "heard" : "garbled";
}

TEST_P(StreamTest, TalksThroughAUnixSocketAndRemovesItsPath) {
  const std::string path = folder_.path("a.sock");
  ListenerResult listener = listen(SocketAddress::unix_socket(path));
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_EQ(sync_wait(*runtime_, talk(**listener, SocketAddress::unix_socket(path))), "heard");
  EXPECT_TRUE(std::filesystem::exists(path));
  listener->reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_P(StreamTest, TalksThroughTcpAtAPortThatTheSystemChose) {
  ListenerResult listener = listen(SocketAddress::inet("127.0.0.1", "0"));
  ASSERT_TRUE(listener) << listener.error().message();
  const SocketAddress address = (*listener)->address();
  EXPECT_EQ(address.host, "127.0.0.1");
  EXPECT_NE(address.port, "0");
  EXPECT_EQ(sync_wait(*runtime_, talk(**listener, address)), "heard");
}

TEST_P(StreamTest, AListenerWithoutAHostTakesEveryFamilyAtOnePort) {
  ListenerResult listener = listen(SocketAddress::inet("", "0"));
  ASSERT_TRUE(listener) << listener.error().message();
  const std::string port = (*listener)->address().port;
  EXPECT_EQ(sync_wait(*runtime_, talk(**listener, SocketAddress::inet("127.0.0.1", port))),
            "heard");
  if (!std::filesystem::exists("/proc/sys/net/ipv6")) GTEST_SKIP() << "no IPv6";
  EXPECT_EQ(sync_wait(*runtime_, talk(**listener, SocketAddress::inet("::1", port))), "heard");
}

TEST_P(StreamTest, FindsTheHostByItsName) {
  ListenerResult listener = listen(SocketAddress::inet("localhost", "0"));
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_EQ(sync_wait(*runtime_, talk(**listener, (*listener)->address())), "heard");
}

TEST_P(StreamTest, TakesTheNextFreePortOfARange) {
  ListenerResult first = listen(SocketAddress::inet("127.0.0.1", "0"));
  ASSERT_TRUE(first);
  SocketAddress address = (*first)->address();
  const ListenerResult refused = listen(address);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kExists);
  EXPECT_EQ(refused.error().reason(), "socket-listen");
  address.to = 65535;
  ListenerResult second = listen(address);
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_GT(std::stoi((*second)->address().port), std::stoi(address.port));
}

TEST_P(StreamTest, TakesOverAPathOnWhichNobodyListensAnyMore) {
  const std::string path = folder_.path("dead.sock");
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  close(fd);
  ListenerResult listener = listen(SocketAddress::unix_socket(path));
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_EQ(sync_wait(*runtime_, talk(**listener, SocketAddress::unix_socket(path))), "heard");
}

TEST_P(StreamTest, LeavesPathsAloneThatOthersUse) {
  const std::string path = folder_.path("used.sock");
  ListenerResult first = listen(SocketAddress::unix_socket(path));
  ASSERT_TRUE(first);
  const ListenerResult second = listen(SocketAddress::unix_socket(path));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kExists);
  const std::string file = folder_.file("a.txt", "content");
  EXPECT_FALSE(listen(SocketAddress::unix_socket(file)));
  EXPECT_EQ(folder_.content("a.txt"), "content");
}

TEST_P(StreamTest, TalksThroughTheAbstractNameSpace) {
  for (const bool tight : {true, false}) {
    SocketAddress address = SocketAddress::unix_socket(folder_.path("abstract"));
    address.is_abstract = true;
    address.tight = tight;
    ListenerResult listener = listen(address);
    ASSERT_TRUE(listener) << listener.error().message();
    EXPECT_EQ(sync_wait(*runtime_, talk(**listener, address)), "heard");
    EXPECT_FALSE(std::filesystem::exists(address.path));
  }
}

TEST_P(StreamTest, TakesDescriptorsOver) {
  std::array<int, 2> ends;
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  SocketAddress address;
  address.kind = SocketAddress::Kind::kFd;
  address.fd = std::to_string(ends[0]);
  StreamResult a = connect(address);
  address.fd = std::to_string(ends[1]);
  StreamResult b = connect(address);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(sync_wait(*runtime_, carry(**a, **b, "hello")), "hello");
  EXPECT_NE(fcntl(ends[0], F_GETFD) & FD_CLOEXEC, 0);
  a->reset();
  EXPECT_EQ(fcntl(ends[0], F_GETFD), -1);
}

TEST_P(StreamTest, TakesAListeningDescriptorOver) {
  const std::string path = folder_.path("handed.sock");
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  SocketAddress address;
  address.kind = SocketAddress::Kind::kFd;
  address.fd = std::to_string(fd);
  ListenerResult listener = listen(address);
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_EQ((*listener)->address().path, path);
  EXPECT_EQ(sync_wait(*runtime_, talk(**listener, (*listener)->address())), "heard");
  listener->reset();
  EXPECT_TRUE(std::filesystem::exists(path)) << "who made it removes it";
}

TEST_P(StreamTest, RefusesDescriptorsThatAreNoSockets) {
  SocketAddress address;
  address.kind = SocketAddress::Kind::kFd;
  const int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
  for (const std::string& text : {std::string("seven"), std::string("-1"), std::string("99999999"),
                                  std::string("99999999999"), std::to_string(file)}) {
    address.fd = text;
    const StreamResult stream = connect(address);
    ASSERT_FALSE(stream) << text;
    EXPECT_EQ(stream.error().reason(), "socket-member");
    EXPECT_EQ(stream.error().values()[1], text);
  }
  close(file);
}

TEST_P(StreamTest, SaysWhyItCannotConnect) {
  const StreamResult missing = connect(SocketAddress::unix_socket(folder_.path("none.sock")));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(missing.error().reason(), "socket-connect");
  SocketAddress gone;
  {
    ListenerResult listener = listen(SocketAddress::inet("127.0.0.1", "0"));
    ASSERT_TRUE(listener);
    gone = (*listener)->address();
  }
  const StreamResult refused = connect(gone);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kIo);
  EXPECT_EQ(refused.error().os_error(), ECONNREFUSED);
  const StreamResult unresolved = [&] {
    SocketAddress address = SocketAddress::inet("no number", "1");
    address.numeric = true;
    return connect(address);
  }();
  ASSERT_FALSE(unresolved);
  EXPECT_EQ(unresolved.error().reason(), "socket-lookup");
  const StreamResult port = connect(SocketAddress::inet("127.0.0.1", "65536"));
  ASSERT_FALSE(port);
  EXPECT_EQ(port.error().reason(), "socket-member");
  const StreamResult path = connect(SocketAddress::unix_socket(std::string(108, 'x')));
  ASSERT_FALSE(path);
  EXPECT_EQ(path.error().reason(), "socket-path-long");
}

TEST_P(StreamTest, WantsTheFamilyThatWasAskedFor) {
  SocketAddress address = SocketAddress::inet("127.0.0.1", "1");
  address.numeric = true;
  address.ipv4 = false;
  const auto as_ipv6 = sync_wait(*runtime_, resolve_socket(address, SocketUse::kConnect));
  EXPECT_FALSE(as_ipv6);
  address.ipv4 = true;
  const auto as_ipv4 = sync_wait(*runtime_, resolve_socket(address, SocketUse::kConnect));
  ASSERT_TRUE(as_ipv4);
  EXPECT_EQ(as_ipv4->front().describe(), "127.0.0.1:1");
}

TEST_P(StreamTest, NamesItsPeer) {
  ListenerResult listener = listen(SocketAddress::inet("127.0.0.1", "0"));
  ASSERT_TRUE(listener);
  StreamResult client = connect((*listener)->address());
  StreamResult server = sync_wait(*runtime_, (*listener)->accept());
  ASSERT_TRUE(client && server);
  EXPECT_EQ((*client)->peer(), "127.0.0.1:" + (*listener)->address().port);
  EXPECT_TRUE((*server)->peer().starts_with("127.0.0.1:"));
}

Task<std::string> read_then_shut_down(Stream& stream) {
  Scope scope;
  std::string seen;
  auto read = [](Stream& from, std::string& text) -> Task<void> {
    text = co_await read_text(from, 1);
  };
  scope.spawn(read(stream, seen));
  co_await sleep_for(1'000'000);
  stream.shut_down();
  co_await scope.join();
  std::byte byte;
  const MutableBuffers into(&byte, 1);
  const Result<size_t> later = co_await stream.read_some(into);
  const ConstBuffers from(&byte, 1);
  const Result<void> written = co_await stream.write_all(from);
  const bool closed = !later && later.error().code() == ErrorCode::kClosed && !written &&
                      written.error().code() == ErrorCode::kClosed;
  co_return closed ? seen : "open";
}

TEST_P(StreamTest, ShuttingDownEndsWhatWaits) {
  std::array<int, 2> ends;
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  auto stream = make_socket_stream(OwnedDescriptor(ends[0]), SocketAddress::unix_socket("s"));
  const OwnedDescriptor other(ends[1]);
  EXPECT_EQ(sync_wait(*runtime_, read_then_shut_down(*stream)),
            "connection to \"s\" was shut down");
}

TEST_P(StreamTest, ReadsPipesAndIsShutDownWhileItWaits) {
  std::array<int, 2> there;
  std::array<int, 2> back;
  ASSERT_EQ(pipe2(there.data(), O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(back.data(), O_CLOEXEC), 0);
  PipeEnds ours;
  ours.input = OwnedDescriptor(back[0]);
  ours.output = OwnedDescriptor(there[1]);
  PipeEnds theirs;
  theirs.input = OwnedDescriptor(there[0]);
  theirs.output = OwnedDescriptor(back[1]);
  auto a = make_pipe_stream(std::move(ours), "pipe");
  auto b = make_pipe_stream(std::move(theirs), "pipe");
  const std::string text(200'000, 'p');
  EXPECT_EQ(sync_wait(*runtime_, carry(*a, *b, text)), text);
  EXPECT_EQ(sync_wait(*runtime_, carry(*b, *a, text)), text);
  EXPECT_EQ(sync_wait(*runtime_, read_then_shut_down(*a)), "connection to \"pipe\" was shut down");
  a.reset();
  EXPECT_EQ(sync_wait(*runtime_, read_text(*b, 1)),
            "\"pipe\" closed the connection after 0 of 1 bytes");
}

Task<std::string> accept_then_close(Listener& listener) {
  Scope scope;
  StreamResult one = std::unique_ptr<Stream>();
  StreamResult two = std::unique_ptr<Stream>();
  scope.spawn(accept_one(listener, one));
  scope.spawn(accept_one(listener, two));
  co_await sleep_for(1'000'000);
  listener.close();
  co_await scope.join();
  const StreamResult later = co_await listener.accept();
  const bool closed = !one && one.error().code() == ErrorCode::kClosed && !two && !later &&
                      later.error().code() == ErrorCode::kClosed;
  co_return closed ? "closed" : "open";
}

TEST_P(StreamTest, ClosingAListenerEndsAllThatAccept) {
  ListenerResult local = listen(SocketAddress::unix_socket(folder_.path("c.sock")));
  ListenerResult everywhere = listen(SocketAddress::inet("", "0"));
  ASSERT_TRUE(local && everywhere);
  EXPECT_EQ(sync_wait(*runtime_, accept_then_close(**local)), "closed");
  EXPECT_EQ(sync_wait(*runtime_, accept_then_close(**everywhere)), "closed");
}

Task<std::string> connect_and_give_up(Connector& connector, SocketAddress address) {
  Scope scope;
  StreamResult result = std::unique_ptr<Stream>();
  auto connect = [](Connector& with, SocketAddress to, StreamResult& into) -> Task<void> {
    into = co_await with.connect(std::move(to));
  };
  scope.spawn(connect(connector, std::move(address), result));
  co_await sleep_for(10'000'000);
  connector.cancel();
  co_await scope.join();
  co_return result                                 ? "connected"
  : result.error().code() == ErrorCode::kCancelled ? "cancelled"
                                                   : result.error().message();
}

TEST_P(StreamTest, AConnectionInTheMakingCanBeGivenUp) {
  // A listener that takes nobody in: the second connection has to wait.
  ListenerResult listener = sync_wait(
      *runtime_, Listener::open(SocketAddress::unix_socket(folder_.path("full.sock")), 0));
  ASSERT_TRUE(listener);
  StreamResult first = connect((*listener)->address());
  ASSERT_TRUE(first);
  Connector connector;
  EXPECT_EQ(sync_wait(*runtime_, connect_and_give_up(connector, (*listener)->address())),
            "cancelled");
}

Task<Result<void>> write_lists(Stream& from, std::span<const std::string> parts) {
  std::vector<std::span<const std::byte>> list;
  for (const std::string& part : parts) list.push_back(bytes_of(part).single());
  const ConstBuffers all{std::span<const std::span<const std::byte>>(list)};
  co_return co_await from.write_all(all);
}

TEST_P(StreamTest, GathersMorePartsThanOneCallTakes) {
  std::array<int, 2> ends;
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  auto a = make_socket_stream(OwnedDescriptor(ends[0]), SocketAddress::unix_socket("s"));
  auto b = make_socket_stream(OwnedDescriptor(ends[1]), SocketAddress::unix_socket("s"));
  std::vector<std::string> parts;
  std::string all;
  for (int part = 0; part < 1500; ++part) all += parts.emplace_back(std::to_string(part) + ",");
  EXPECT_TRUE(sync_wait(*runtime_, write_lists(*a, parts)));
  EXPECT_EQ(sync_wait(*runtime_, read_text(*b, all.size())), all);
}

}  // namespace
}  // namespace ashlar
