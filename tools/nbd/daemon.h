// Leaving the terminal: a server in the background whose start the caller waits for, and the file
// with its process id.
#pragma once

#include <optional>
#include <string>

#include "ashlar/error.h"

namespace ashlar::tools::nbd {

/// The process behind --fork. Before any thread exists.
class Daemon {
 public:
  /// Forks. The parent waits here until the child is ready or has ended, passes on what it says on
  /// stderr, and exits with 0 when it is ready and 1 when it is not. Only the child returns.
  static Result<Daemon> fork_off();

  /// In the child: tells the parent, and leaves standard input and output; `verbose` keeps stderr.
  enum class Stderr : uint8_t { kClosed, kKept };
  void ready(Stderr what);

  Daemon(Daemon&& other) noexcept;
  Daemon& operator=(Daemon&&) = delete;
  ~Daemon();

 private:
  Daemon(int ready, int old_stderr) : ready_(ready), old_stderr_(old_stderr) {}
  int ready_ = -1;  // a byte here says so
  int old_stderr_ = -1;
};

/// Writes the process id to `path`. Errors: those of the file system, in the peer's words.
Result<void> write_pid_file(const std::string& path);

}  // namespace ashlar::tools::nbd
