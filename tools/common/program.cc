// Output and messages of the running program.
#include "tools/common/program.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace ashlar::tools {
namespace {

/// 0, or the errno of what went wrong.
int write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

}  // namespace

Output::Output(int descriptor) : descriptor_(descriptor), terminal_(::isatty(descriptor) == 1) {}

void Output::write(std::string_view text) {
  while (!text.empty() && error_ == 0) {
    if (used_ == buffer_.size()) flush();
    const size_t part = std::min(text.size(), buffer_.size() - used_);
    std::memcpy(buffer_.data() + used_, text.data(), part);
    used_ += part;
    const bool line_done = terminal_ && text.find('\n') != std::string_view::npos;
    text.remove_prefix(part);
    if (line_done) flush();
  }
}

void Output::write_decimal(uint64_t value) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.begin(), digits.end(), value).ptr;
  write({digits.data(), static_cast<size_t>(end - digits.data())});
}

void Output::write_hex(uint64_t value) {
  std::array<char, 18> digits{'0', 'x'};
  const auto end = std::to_chars(digits.begin() + 2, digits.end(), value, 16).ptr;
  if (value == 0) return write("0");
  write({digits.data(), static_cast<size_t>(end - digits.data())});
}

void Output::flush() {
  if (error_ == 0) error_ = write_all(descriptor_, {buffer_.data(), used_});
  used_ = 0;
}

Program::Program(std::string path, std::string name)
    : path_(std::move(path)), name_(std::move(name)), out_(STDOUT_FILENO) {}

void Program::error(std::string_view message) const {
  note(std::string(name_).append(": ").append(message));
}

void Program::warning(std::string_view message) const {
  note(std::string(name_).append(": warning: ").append(message));
}

void Program::note(std::string_view line) const {
  // One write, so that lines of several processes do not mix. Where else could a failure be told?
  (void)write_all(STDERR_FILENO, std::string(line).append("\n"));
}

int Program::finish(int status) {
  out_.flush();
  if (out_.error() == 0) return status;
  error(std::string("could not write the output: ").append(std::strerror(out_.error())));
  return status == kSuccess ? kFailure : status;
}

}  // namespace ashlar::tools
