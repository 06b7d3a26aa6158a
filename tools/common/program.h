// The running program: what it is called in messages, and where its output goes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ashlar::tools {

/// Exit statuses that all commands share.
inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;

/// Buffered text to a file descriptor. A terminal gets every whole line at once; anything else gets
/// full buffers. An error (full disk, closed pipe) sticks, and everything after it is dropped.
class Output {
 public:
  explicit Output(int descriptor);
  Output(const Output&) = delete;
  ~Output() { flush(); }

  void write(std::string_view text);
  void write_decimal(uint64_t value);
  /// As %#x prints it: 0x1f, and 0 for zero.
  void write_hex(uint64_t value);
  void flush();
  bool is_terminal() const { return terminal_; }
  /// The errno of the first failed write; 0: none. Whoever writes much looks now and then.
  int error() const { return error_; }

 private:
  int descriptor_;
  bool terminal_;
  int error_ = 0;
  size_t used_ = 0;
  std::array<char, 32768> buffer_;
};

/// Name, output and messages of the running program. Lives in main().
class Program {
 public:
  /// `path`: as the program was called. `name`: what its messages start with.
  Program(std::string path, std::string name);

  const std::string& path() const { return path_; }
  const std::string& name() const { return name_; }

  Output& out() { return out_; }

  /// `name: message` on stderr.
  void error(std::string_view message) const;
  /// `name: warning: message` on stderr.
  void warning(std::string_view message) const;
  /// A line on stderr as it is.
  void note(std::string_view line) const;

  /// Writes out what is buffered; `status`, or failure when the output could not be written.
  int finish(int status);

 private:
  std::string path_;
  std::string name_;
  Output out_;
};

}  // namespace ashlar::tools
