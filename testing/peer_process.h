// Other programs in tests: run to the end, or kept waiting while the test goes on.
#pragma once

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

namespace ashlar {

struct CommandResult {
  bool succeeded = false;
  std::string output;  ///< of both streams
};

/// Runs a shell command.
inline CommandResult run_command(const std::string& command) {
  FILE* pipe = ::popen(("{ " + command + "; } 2>&1").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot start: " + command);
  CommandResult result;
  char part[4096];
  while (const size_t length = std::fread(part, 1, sizeof part, pipe)) {
    result.output.append(part, length);
  }
  result.succeeded = ::pclose(pipe) == 0;
  return result;
}

/// A command that reads its input, which ends when this is destroyed; then it is waited for.
class WaitingCommand {
 public:
  explicit WaitingCommand(const std::string& command) : pipe_(::popen(command.c_str(), "w")) {
    if (pipe_ == nullptr) throw std::runtime_error("cannot start: " + command);
  }

 private:
  struct Close {
    void operator()(FILE* pipe) const { ::pclose(pipe); }
  };
  std::unique_ptr<FILE, Close> pipe_;
};

}  // namespace ashlar
