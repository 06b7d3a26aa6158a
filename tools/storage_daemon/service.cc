// Background, readiness and sockets of a service.
#include "tools/storage_daemon/service.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace ashlar::tools {
namespace {

/// What the child has told: that it is ready, or by its end that it is not.
int wait_for_child(const OwnedDescriptor& from_child, pid_t child) {
  char ready = 0;
  ssize_t got = 0;
  do {
    got = ::read(from_child.get(), &ready, 1);
  } while (got < 0 && errno == EINTR);
  if (got == 1) return kSuccess;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : kFailure;
}

void leave_terminal() {
  ::setsid();
  OwnedDescriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return;
  ::dup2(null.get(), STDIN_FILENO);
  ::dup2(null.get(), STDOUT_FILENO);
}

/// To the service manager, as sd_notify() does. Nobody may listen: then nothing is lost.
void notify(std::string_view message) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr) return;
  const size_t length = std::strlen(path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (length == 0 || length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // in the abstract name space
  const OwnedDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  (void)::sendto(socket.get(), message.data(), message.size(), MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address), size);
}

}  // namespace

std::optional<int> Readiness::go_to_background(Program& program) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    program.error(std::string("cannot make a pipe: ") + std::strerror(errno));
    return kFailure;
  }
  OwnedDescriptor from_child(ends[0]);
  OwnedDescriptor to_parent(ends[1]);
  program.out().flush();
  const pid_t child = ::fork();
  if (child < 0) {
    program.error(std::string("cannot fork: ") + std::strerror(errno));
    return kFailure;
  }
  if (child > 0) {
    to_parent = OwnedDescriptor();
    return wait_for_child(from_child, child);
  }
  parent_ = std::move(to_parent);
  leave_terminal();
  return std::nullopt;
}

void Readiness::tell() {
  if (parent_) {
    // Messages have a reader no longer.
    const OwnedDescriptor null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    if (null) ::dup2(null.get(), STDERR_FILENO);
    const char ready = 1;
    (void)!::write(parent_.get(), &ready, 1);
    parent_ = OwnedDescriptor();
  }
  notify("READY=1");
}

void Readiness::tell_stopping() { notify("STOPPING=1"); }

void adopt_sockets() {
  const char* pid = std::getenv("LISTEN_PID");
  const char* count = std::getenv("LISTEN_FDS");
  if (pid == nullptr || count == nullptr || std::atol(pid) != ::getpid()) return;
  constexpr int kFirst = 3;
  constexpr int kMost = 64;
  const int sockets = std::min(std::atoi(count), kMost);
  for (int fd = kFirst; fd < kFirst + sockets; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
}

}  // namespace ashlar::tools
