// Forking, and waiting for the child to be ready.
#include "tools/nbd/daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace ashlar::tools::nbd {
namespace {

struct Pipe {
  int read = -1;
  int write = -1;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::kIo, fmt::format("Failed to create a pipe: {}", std::strerror(errno)));
  }
  return Pipe{.read = ends[0], .write = ends[1]};
}

/// Copies to stderr what the child says until it closes its end.
void pass_on(int from) {
  std::array<char, 1024> text;
  for (;;) {
    const ssize_t got = ::read(from, text.data(), text.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    (void)!::write(STDERR_FILENO, text.data(), static_cast<size_t>(got));
  }
}

/// The parent's part: exits.
[[noreturn]] void wait_for(const Pipe& messages, const Pipe& ready) {
  ::close(messages.write);
  ::close(ready.write);
  pass_on(messages.read);
  char byte = 0;
  const bool is_ready = ::read(ready.read, &byte, 1) == 1;
  ::_exit(is_ready ? 0 : 1);
}

}  // namespace

Result<Daemon> Daemon::fork_off() {
  Result<Pipe> messages = make_pipe();
  if (!messages) return fail(messages.error());
  Result<Pipe> ready = make_pipe();
  if (!ready) return fail(ready.error());
  const pid_t child = ::fork();
  if (child < 0) {
    return fail(ErrorCode::kIo, fmt::format("Failed to fork: {}", std::strerror(errno)));
  }
  if (child > 0) wait_for(*messages, *ready);
  setsid();
  ::close(messages->read);
  ::close(ready->read);
  const int old_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  dup2(messages->write, STDERR_FILENO);
  ::close(messages->write);
  return Daemon(ready->write, old_stderr);
}

Daemon::Daemon(Daemon&& other) noexcept
    : ready_(std::exchange(other.ready_, -1)), old_stderr_(std::exchange(other.old_stderr_, -1)) {}

Daemon::~Daemon() {
  if (ready_ >= 0) ::close(ready_);
  if (old_stderr_ >= 0) ::close(old_stderr_);
}

void Daemon::ready(Stderr what) {
  (void)!::chdir("/");
  const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nowhere >= 0) {
    dup2(nowhere, STDIN_FILENO);
    dup2(nowhere, STDOUT_FILENO);
  }
  const char byte = 0;
  (void)!::write(ready_, &byte, 1);
  ::close(std::exchange(ready_, -1));
  // The parent exits when the last copy of its pipe has gone.
  const int kept = what == Stderr::kKept ? old_stderr_ : nowhere;
  if (kept >= 0) dup2(kept, STDERR_FILENO);
  if (nowhere > STDERR_FILENO) ::close(nowhere);
  // Whoever reads the caller's stderr to its end does not wait for the server.
  if (old_stderr_ >= 0) ::close(std::exchange(old_stderr_, -1));
}

Result<void> write_pid_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) {
    return fail(ErrorCode::kIo,
                fmt::format("Could not create '{}': {}", path, std::strerror(errno)));
  }
  const std::string text = fmt::format("{}\n", getpid());
  const bool written = ftruncate(file, 0) == 0 &&
                       ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  ::close(file);
  if (written) return {};
  return fail(ErrorCode::kIo, fmt::format("Could not write '{}': {}", path, std::strerror(error)));
}

}  // namespace ashlar::tools::nbd
