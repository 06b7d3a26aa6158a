// The shell of the io tool: the open image, requests in the background, and commands on them.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ashlar/backend.h"
#include "ashlar/node.h"
#include "async/sync.h"
#include "tools/common/aligned_buffer.h"
#include "tools/common/session.h"
#include "tools/io/shell_image.h"

namespace ashlar::tools::io {

enum class Outcome : uint8_t { kDone, kFailed };

class Shell;

/// The words of one command; the first is the name as it was typed.
using Words = std::span<std::string>;

/// One command of the shell.
struct ShellCommand {
  static constexpr size_t kAnyNumber = std::numeric_limits<size_t>::max();
  struct Count {
    size_t least = 0;
    size_t most = 0;
  };

  std::string_view name;
  std::string_view alias{};     ///< a shorter name; empty: none
  Count arguments{};            ///< words after the name, options included
  std::string_view synopsis{};  ///< of the arguments
  std::string_view summary;     ///< one line
  std::string_view details{};   ///< what `help NAME` adds
  enum class Needs : uint8_t { kNothing, kImage, kWritableImage } needs = Needs::kImage;
  Outcome (*run)(Shell& shell, Words words) = nullptr;
};

/// All commands, sorted by name.
std::span<const ShellCommand> shell_commands();
/// By name or alias; null when there is none.
const ShellCommand* find_shell_command(std::string_view name);

/// `NAME ARGUMENTS -- SUMMARY`, with the name as it was typed.
std::string synopsis_line(const ShellCommand& command, std::string_view typed_name);

/// Runs commands one after the other.
class Shell {
 public:
  enum class Memory : uint8_t { kAligned, kMisaligned };

  Shell(Session& session, Memory memory) : session_(session), memory_(memory) {}
  Shell(const Shell&) = delete;
  ~Shell() { close(); }

  Session& session() { return session_; }
  Program& program() { return session_.program(); }
  Output& out() { return program().out(); }

  /// Splits `line` at blanks and runs it. Complains about what is wrong.
  Outcome run(std::string_view line);
  /// Prints how the command is called. For commands whose options are wrong.
  Outcome usage(Words words);

  void quit() { quitting_ = true; }
  bool quitting() const { return quitting_; }

  // --- The image.

  /// Opens `what`; complains when that fails or one is open already.
  Outcome open(const ShellImage& what);
  /// Waits for requests in the background and closes the image. Complains about errors.
  Outcome close();
  bool has_image() const { return bool(open_.backend); }
  Backend& image() { return *open_.backend; }
  Node& node() { return *open_.backend->root(); }

  /// Lets the image be written or not from now on, as after a reopen.
  Outcome set_writable(bool writable);

  // --- Requests.

  /// Runs `task` to its end.
  template <typename T>
  T wait(Task<T> task) {
    return session_.wait(std::move(task));
  }
  /// Starts `task`; it goes on while others are waited for.
  void start(Task<void> task);
  void wait_for_started();

  /// Memory for a request. Complains when there is not enough.
  std::optional<AlignedBuffer> buffer(size_t size);

  // --- Arguments. Each complains about what it cannot read.

  std::optional<uint64_t> number(std::string_view text);
  std::optional<std::byte> pattern(std::string_view text);
  /// offset and length of requests; `text` are the two words.
  std::optional<ByteRange> range(std::string_view offset, std::string_view length);

  /// A line on stdout; the way of those that cannot do what was asked.
  Outcome fail_with(std::string_view line);

 private:
  Session& session_;
  Memory memory_;
  bool quitting_ = false;
  OpenImage open_;
  Scope started_;
};

/// The largest request; larger ones are refused before they start.
inline constexpr uint64_t kMaxRequest = (uint64_t{1} << 31) - 512;

/// Why a request failed, as after `read failed: `.
std::string failure_text(const Error& error);

}  // namespace ashlar::tools::io
