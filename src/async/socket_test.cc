// The claims of socket operations, with each of the two engines.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "async/io_operation.h"
#include "async/on_loop.h"
#include "async/sync.h"

namespace ashlar {
namespace {

using Files = RuntimeOptions::FileBackend;

class SocketTest : public testing::TestWithParam<Files> {
 protected:
  std::unique_ptr<Runtime> runtime_ = Runtime::create({.files = GetParam()});
};

INSTANTIATE_TEST_SUITE_P(Engines, SocketTest, testing::Values(Files::kAutomatic, Files::kThreads),
                         [](const auto& info) {
                           return info.param == Files::kAutomatic ? "Ring" : "Threads";
                         });

/// A connected pair of stream sockets.
class Pair {
 public:
  explicit Pair(int flags = 0) {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, ends_.data()), 0);
  }
  ~Pair() {
    for (const int end : ends_) close(end);
  }
  int a() const { return ends_[0]; }
  int b() const { return ends_[1]; }

 private:
  std::array<int, 2> ends_;
};

Task<int64_t> send_all(int fd, const std::string& text) {
  size_t sent = 0;
  while (sent < text.size()) {
    iovec vector = {.iov_base = const_cast<char*>(text.data()) + sent,
                    .iov_len = text.size() - sent};
    msghdr message = {};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    const int64_t result = co_await IoOperation::send(fd, message);
    if (result < 0) co_return result;
    sent += static_cast<size_t>(result);
  }
  co_return static_cast<int64_t>(sent);
}

Task<std::string> receive_all(int fd, size_t size) {
  std::string text(size, '\0');
  size_t received = 0;
  while (received < size) {
    iovec vector = {.iov_base = text.data() + received, .iov_len = size - received};
    msghdr message = {};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    const int64_t result = co_await IoOperation::receive(fd, message);
    if (result <= 0) break;
    received += static_cast<size_t>(result);
  }
  text.resize(received);
  co_return text;
}

Task<void> send_and_count(int fd, const std::string& text, int64_t& sent) {
  sent = co_await send_all(fd, text);
}

Task<std::string> transfer(int from, int to, const std::string& text) {
  Scope scope;
  int64_t sent = 0;
  // The receiver waits first: nothing has come yet.
  scope.spawn(send_and_count(from, text, sent));
  std::string got = co_await receive_all(to, text.size());
  co_await scope.join();
  EXPECT_EQ(sent, static_cast<int64_t>(text.size()));
  co_return got;
}

TEST_P(SocketTest, CarriesMoreThanASocketBufferHolds) {
  const Pair pair;
  std::string text;
  for (int line = 0; line < 200'000; ++line) text += std::to_string(line) + "\n";
  EXPECT_EQ(sync_wait(*runtime_, transfer(pair.a(), pair.b(), text)), text);
}

TEST_P(SocketTest, WaitsOnNonBlockingSocketsToo) {
  const Pair pair(SOCK_NONBLOCK);
  const std::string text(3'000'000, 'x');
  EXPECT_EQ(sync_wait(*runtime_, transfer(pair.a(), pair.b(), text)), text);
}

Task<std::string> both_ways(int a, int b, const std::string& text) {
  Scope scope;
  int64_t sent = 0;
  int64_t sent_back = 0;
  scope.spawn(send_and_count(a, text, sent));
  scope.spawn(send_and_count(b, text, sent_back));
  const std::string there = co_await receive_all(b, text.size());
  const std::string back = co_await receive_all(a, text.size());
  co_await scope.join();
  co_return there == back ? there : "different";
}

TEST_P(SocketTest, SendsAndReceivesOnOneSocketAtOnce) {
  const Pair pair;
  const std::string text(500'000, 'y');
  EXPECT_EQ(sync_wait(*runtime_, both_ways(pair.a(), pair.b(), text)), text);
}

TEST_P(SocketTest, AClosedPeerIsAnErrorAndNoSignal) {
  std::array<int, 2> ends;
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  close(ends[1]);
  EXPECT_EQ(sync_wait(*runtime_, send_all(ends[0], "x")), -EPIPE);
  EXPECT_EQ(sync_wait(*runtime_, receive_all(ends[0], 1)), "");
  close(ends[0]);
}

Task<int64_t> receive_now(int fd) {
  char byte = 0;
  iovec vector = {.iov_base = &byte, .iov_len = 1};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  co_return co_await IoOperation::receive(fd, message, MSG_DONTWAIT);
}

TEST_P(SocketTest, WhoAsksNotToWaitIsToldToTryAgain) {
  const Pair pair;
  EXPECT_EQ(sync_wait(*runtime_, receive_now(pair.a())), -EAGAIN);
}

Task<int64_t> poll_until_readable(int fd, int other_end) {
  Scope scope;
  int64_t sent = 0;
  const std::string text = "x";
  scope.spawn(send_and_count(other_end, text, sent));
  const int64_t events = co_await IoOperation::poll(fd, POLLIN);
  co_await scope.join();
  co_return events;
}

TEST_P(SocketTest, PollGivesTheReadyEvents) {
  const Pair pair;
  EXPECT_EQ(sync_wait(*runtime_, poll_until_readable(pair.a(), pair.b())), POLLIN);
}

/// A listening socket in the abstract name space: nothing is left in the file system.
class Listener {
 public:
  Listener() : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un any = {};
    any.sun_family = AF_UNIX;
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&any), sizeof(sa_family_t)), 0);
    EXPECT_EQ(listen(fd_, 8), 0);
    length_ = sizeof address_;
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address_), &length_), 0);
  }
  ~Listener() { close(fd_); }
  int fd() const { return fd_; }
  msghdr address() {
    msghdr message = {};
    message.msg_name = &address_;
    message.msg_namelen = length_;
    return message;
  }

 private:
  int fd_;
  sockaddr_un address_ = {};
  socklen_t length_ = 0;
};

Task<void> connect_and_send(Listener& listener, std::string text) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  msghdr address = listener.address();
  const int64_t connected = co_await IoOperation::connect(fd, address);
  EXPECT_EQ(connected, 0);
  const int64_t sent = co_await send_all(fd, text);
  EXPECT_EQ(sent, static_cast<int64_t>(text.size()));
  close(fd);
}

Task<std::string> accept_and_receive(Listener& listener) {
  Scope scope;
  scope.spawn(connect_and_send(listener, "hello"));
  const int64_t fd = co_await IoOperation::accept(listener.fd());
  if (fd < 0) co_return "accept failed";
  const std::string got = co_await receive_all(static_cast<int>(fd), 100);
  co_await scope.join();
  const bool close_on_exec = (fcntl(static_cast<int>(fd), F_GETFD) & FD_CLOEXEC) != 0;
  close(static_cast<int>(fd));
  co_return close_on_exec ? got : "inherited by children";
}

TEST_P(SocketTest, AcceptsAConnectionAndReadsToItsEnd) {
  Listener listener;
  EXPECT_EQ(sync_wait(*runtime_, accept_and_receive(listener)), "hello");
}

Task<int64_t> connect_only(msghdr& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int64_t result = co_await IoOperation::connect(fd, address);
  close(fd);
  co_return result;
}

TEST_P(SocketTest, AConnectionThatNobodyTakesIsRefused) {
  msghdr address = {};
  sockaddr_un name = {};
  {
    Listener gone;
    const msghdr its_address = gone.address();
    std::memcpy(&name, its_address.msg_name, its_address.msg_namelen);
    address.msg_namelen = its_address.msg_namelen;
  }
  address.msg_name = &name;
  EXPECT_EQ(sync_wait(*runtime_, connect_only(address)), -ECONNREFUSED);
}

}  // namespace
}  // namespace ashlar
