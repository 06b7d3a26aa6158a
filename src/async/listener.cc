// Listening sockets: binding with ranges of ports, taking over dead paths, accepting.
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <vector>

#include "ashlar/stream.h"
#include "async/cancel.h"
#include "async/socket_name.h"
#include "async/socket_stream.h"

namespace ashlar {
namespace {

constexpr unsigned kPortTries = 10;  // when the system chooses a port that one family cannot have

/// A socket file that was made here. Removes it, unless somebody else has taken its place.
class SocketPath {
 public:
  SocketPath() = default;
  explicit SocketPath(std::string path) : path_(std::move(path)) {
    if (lstat(path_.c_str(), &made_) != 0) path_.clear();
  }
  SocketPath(SocketPath&& other) noexcept
      : path_(std::exchange(other.path_, {})), made_(other.made_) {}
  SocketPath& operator=(SocketPath other) noexcept {
    std::swap(path_, other.path_);
    std::swap(made_, other.made_);
    return *this;
  }
  ~SocketPath() {
    struct stat now = {};
    if (path_.empty() || lstat(path_.c_str(), &now) != 0) return;
    if (now.st_dev == made_.st_dev && now.st_ino == made_.st_ino) unlink(path_.c_str());
  }

 private:
  std::string path_;
  struct stat made_ = {};
};

/// What a listener consists of once it listens.
struct Bound {
  std::vector<OwnedDescriptor> sockets;  // one for each family
  OwnedDescriptor any_ready;             // an epoll instance when there are several
  SocketPath path;
  SocketAddress address;
};

class SocketListener final : public Listener {
 public:
  explicit SocketListener(Bound bound) : bound_(std::move(bound)) {}

  Task<Result<std::unique_ptr<Stream>>> accept() override {
    for (;;) {
      if (closed_) co_return fail(closed());
      for (const OwnedDescriptor& socket_descriptor : bound_.sockets) {
        OwnedDescriptor taken(accept4(socket_descriptor.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (taken) co_return make_socket_stream(std::move(taken), bound_.address);
        if (!passes_by(errno)) {
          co_return fail(
              Error::from_errno(errno, fmt::format("accept on \"{}\"", address().describe())));
        }
      }
      const int64_t events = co_await connection_waiting();
      if (events < 0 && !closed_) {
        co_return fail(Error::from_errno(static_cast<int>(-events),
                                         fmt::format("wait on \"{}\"", address().describe())));
      }
    }
  }

  void close() noexcept override {
    if (std::exchange(closed_, true)) return;
    for (IoOperation* poll : waiting_) request_cancel(*poll);
  }

  const SocketAddress& address() const noexcept override { return bound_.address; }

 private:
  /// Nobody was there, or whoever it was has gone again.
  static bool passes_by(int os_error) {
    return os_error == EAGAIN || os_error == EINTR || os_error == ECONNABORTED ||
           os_error == EPROTO || os_error == ENETDOWN || os_error == EHOSTUNREACH;
  }
  Task<int64_t> connection_waiting() {
    const OwnedDescriptor& fd = bound_.any_ready ? bound_.any_ready : bound_.sockets.front();
    IoOperation poll = IoOperation::poll(fd.get(), POLLIN);
    waiting_.push_back(&poll);
    const int64_t events = co_await poll;
    std::erase(waiting_, &poll);
    co_return events;
  }
  Error closed() const {
    return Error(ErrorCode::kClosed, fmt::format("\"{}\" listens no more", address().describe()));
  }

  const Bound bound_;
  std::vector<IoOperation*> waiting_;
  bool closed_ = false;
};

/// How an attempt to bind has ended: 0 or an errno.
struct Attempt {
  OwnedDescriptor socket;
  int os_error = 0;
};

Attempt listen_on(const SocketName& name, unsigned backlog) {
  Attempt attempt;
  attempt.socket =
      OwnedDescriptor(socket(name.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int fd = attempt.socket.get();
  const int on = 1;
  if (name.family() == AF_INET || name.family() == AF_INET6) {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  }
  // IPv4 has a socket of its own where both are wanted.
  if (name.family() == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  const bool listens = fd >= 0 && bind(fd, name.get(), name.length) == 0 &&
                       listen(fd, static_cast<int>(std::min(backlog, 65535U))) == 0;
  attempt.os_error = listens ? 0 : errno;
  return attempt;
}

/// Whether `path` is a socket that nobody listens on.
bool is_dead_socket(const SocketName& name, const std::string& path) {
  struct stat facts = {};
  if (lstat(path.c_str(), &facts) != 0 || !S_ISSOCK(facts.st_mode)) return false;
  const OwnedDescriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return probe && connect(probe.get(), name.get(), name.length) != 0 && errno == ECONNREFUSED;
}

Result<Bound> bind_unix(const SocketName& name, SocketAddress address, unsigned backlog) {
  Attempt attempt = listen_on(name, backlog);
  if (attempt.os_error == EADDRINUSE && !address.is_abstract &&
      is_dead_socket(name, address.path)) {
    unlink(address.path.c_str());
    attempt = listen_on(name, backlog);
  }
  if (attempt.os_error != 0) {
    return fail(socket_error(attempt.os_error, SocketUse::kListen, address));
  }
  Bound bound;
  if (!address.is_abstract) bound.path = SocketPath(address.path);
  bound.sockets.push_back(std::move(attempt.socket));
  bound.address = std::move(address);
  return bound;
}

Result<Bound> bind_vsock(const SocketName& name, SocketAddress address, unsigned backlog) {
  Attempt attempt = listen_on(name, backlog);
  if (attempt.os_error != 0) {
    return fail(socket_error(attempt.os_error, SocketUse::kListen, address));
  }
  Bound bound;
  address.port = address_of(local_name(attempt.socket.get())).port;
  bound.sockets.push_back(std::move(attempt.socket));
  bound.address = std::move(address);
  return bound;
}

/// All names at one port; what the machine has not, such as IPv6, is left out. 0 or an errno.
int bind_port(std::vector<SocketName> names, uint16_t port, unsigned backlog,
              std::vector<OwnedDescriptor>& sockets) {
  int last = EADDRNOTAVAIL;
  sockets.clear();
  for (SocketName& name : names) {
    name.set_port(port);
    Attempt attempt = listen_on(name, backlog);
    if (attempt.os_error == EADDRINUSE || attempt.os_error == EACCES) return attempt.os_error;
    if (attempt.os_error != 0) {
      last = attempt.os_error;
      continue;
    }
    port = local_name(attempt.socket.get()).port();  // where the system chose, for the others too
    sockets.push_back(std::move(attempt.socket));
  }
  return sockets.empty() ? last : 0;
}

Result<Bound> bind_inet(const std::vector<SocketName>& names, SocketAddress address,
                        unsigned backlog) {
  const uint16_t first = names.front().port();
  const uint64_t last = first == 0 ? kPortTries : std::max<uint64_t>(first, address.to.value_or(0));
  Bound bound;
  int os_error = EADDRINUSE;
  for (uint64_t port = first; port <= last && os_error == EADDRINUSE; ++port) {
    const auto wanted = static_cast<uint16_t>(first == 0 ? 0 : port);
    os_error = bind_port(names, wanted, backlog, bound.sockets);
  }
  if (os_error != 0) return fail(socket_error(os_error, SocketUse::kListen, address));
  address.port = std::to_string(local_name(bound.sockets.front().get()).port());
  bound.address = std::move(address);
  return bound;
}

Result<Bound> adopt_listening(const SocketAddress& address, unsigned backlog) {
  Result<int> fd = named_descriptor(address);
  if (!fd) return fail(fd.error());
  Bound bound;
  bound.sockets.emplace_back(*fd);
  int listening = 0;
  socklen_t size = sizeof listening;
  getsockopt(*fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size);
  if (listening == 0 && listen(*fd, static_cast<int>(std::min(backlog, 65535U))) != 0) {
    return fail(socket_error(errno, SocketUse::kListen, address));
  }
  fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK);
  bound.address = address_of(local_name(*fd));
  return bound;
}

Result<void> watch_all(Bound& bound) {
  if (bound.sockets.size() == 1) return ok();
  bound.any_ready = OwnedDescriptor(epoll_create1(EPOLL_CLOEXEC));
  for (const OwnedDescriptor& one : bound.sockets) {
    epoll_event event = {};
    event.events = EPOLLIN;
    if (epoll_ctl(bound.any_ready.get(), EPOLL_CTL_ADD, one.get(), &event) != 0) {
      return fail(socket_error(errno, SocketUse::kListen, bound.address));
    }
  }
  return ok();
}

Result<Bound> bind_all(const std::vector<SocketName>& names, SocketAddress address,
                       unsigned backlog) {
  switch (address.kind) {
    case SocketAddress::Kind::kInet:
      return bind_inet(names, std::move(address), backlog);
    case SocketAddress::Kind::kUnix:
      return bind_unix(names.front(), std::move(address), backlog);
    case SocketAddress::Kind::kVsock:
      return bind_vsock(names.front(), std::move(address), backlog);
    case SocketAddress::Kind::kFd:
      return adopt_listening(address, backlog);
  }
  return fail(ErrorCode::kInvalidArgument, "socket address of no kind");
}

}  // namespace

Task<Result<std::unique_ptr<Listener>>> Listener::open(SocketAddress address, unsigned backlog) {
  std::vector<SocketName> names;
  if (address.kind != SocketAddress::Kind::kFd) {
    Result<std::vector<SocketName>> found = co_await resolve_socket(address, SocketUse::kListen);
    if (!found) co_return fail(found.error());
    names = std::move(*found);
  }
  Result<Bound> bound = bind_all(names, std::move(address), backlog);
  if (!bound) co_return fail(bound.error());
  Result<void> watched = watch_all(*bound);
  if (!watched) co_return fail(watched.error());
  std::unique_ptr<Listener> listener = std::make_unique<SocketListener>(std::move(*bound));
  co_return std::move(listener);
}

}  // namespace ashlar
