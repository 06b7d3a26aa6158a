// The monitor for people: a prompt, commands as words, answers as text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/stream.h"
#include "monitor/monitor.h"
#include "tools/storage_daemon/daemon.h"

namespace ashlar::tools {

/// One command. Its words have been counted; what it returns is shown as it is.
struct HumanCommand {
  std::string_view name;
  std::string_view arguments;  ///< as help shows them
  std::string_view summary;
  struct Count {
    size_t least = 0;
    size_t most = 0;
  } count;
  Task<std::string> (*run)(monitor::Monitor& monitor, std::vector<std::string> words) = nullptr;
};

// The tables, by what the commands are about.
std::span<const HumanCommand> human_info_commands();
std::span<const HumanCommand> human_medium_commands();
std::span<const HumanCommand> human_io_commands();

/// Words of a line: blanks separate, double quotes hold together.
std::vector<std::string> split_words(std::string_view line);

/// Runs a command of QMP: empty when it succeeds, else what went wrong as a line.
Task<std::string> run_quietly(monitor::Monitor& monitor, std::string_view command,
                              monitor::JsonInput arguments);

/// Control loop only.
class HumanSession final : public MonitorSession {
 public:
  HumanSession(monitor::Monitor& monitor, Stream& stream) : monitor_(monitor), stream_(stream) {}
  Task<void> run() override;
  void stop() override { stream_.shut_down(); }

 private:
  static constexpr size_t kLongestLine = 65536;
  Task<Result<void>> say(std::string text);
  Task<std::string> answer(std::string line);

  monitor::Monitor& monitor_;
  Stream& stream_;
  bool quitting_ = false;
};

}  // namespace ashlar::tools
