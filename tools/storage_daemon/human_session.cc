// Reading lines of people and answering them.
#include "tools/storage_daemon/human_session.h"

#include <fmt/format.h>

#include <array>

#include "ashlar/version.h"

namespace ashlar::tools {
namespace {

constexpr std::string_view kPrompt = "(ashlar) ";

std::array<std::span<const HumanCommand>, 3> all_tables() {
  return {human_info_commands(), human_medium_commands(), human_io_commands()};
}

/// Commands such as "info block" have two words.
const HumanCommand* find_command(std::span<const std::string> words) {
  for (const auto table : all_tables()) {
    for (const HumanCommand& command : table) {
      if (command.name == words[0]) return &command;
      if (words.size() > 1 && command.name == words[0] + " " + words[1]) return &command;
    }
  }
  return nullptr;
}

std::string help(std::string_view about) {
  std::string text;
  for (const auto table : all_tables()) {
    for (const HumanCommand& command : table) {
      if (!about.empty() && !command.name.starts_with(about)) continue;
      text += fmt::format("{}{}{} -- {}\n", command.name, command.arguments.empty() ? "" : " ",
                          command.arguments, command.summary);
    }
  }
  if (about.empty()) text += "help [COMMAND] -- show this\nquit -- end the daemon\n";
  return text.empty() ? fmt::format("unknown command: '{}'\n", about) : text;
}

}  // namespace

std::vector<std::string> split_words(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  bool begun = false;
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
      begun = true;
    } else if (!quoted && (c == ' ' || c == '\t' || c == '\r')) {
      if (begun) words.push_back(std::exchange(word, {}));
      begun = false;
    } else {
      word += c;
      begun = true;
    }
  }
  if (begun) words.push_back(std::move(word));
  return words;
}

Task<std::string> run_quietly(monitor::Monitor& monitor, std::string_view name,
                              monitor::JsonInput arguments) {
  const monitor::Command* command = monitor.find_command(name);
  const Result<monitor::Json> done = co_await monitor.execute(*command, std::move(arguments));
  if (done) co_return std::string();
  co_return fmt::format("Error: {}\n", monitor.text(done.error()));
}

Task<Result<void>> HumanSession::say(std::string text) {
  std::string lines;
  for (const char c : text) {
    if (c == '\n') lines += '\r';
    lines += c;
  }
  const ConstBuffers from(reinterpret_cast<const std::byte*>(lines.data()), lines.size());
  co_return co_await stream_.write_all(from);
}

Task<std::string> HumanSession::answer(std::string line) {
  std::vector<std::string> words = split_words(line);
  if (words.empty()) co_return std::string();
  if (words[0] == "help" || words[0] == "?") {
    co_return help(words.size() > 1 ? words[1] : std::string());
  }
  if (words[0] == "quit" || words[0] == "q") {
    quitting_ = true;
    co_return std::string();
  }
  const HumanCommand* command = find_command(words);
  if (command == nullptr) co_return fmt::format("unknown command: '{}'\n", words[0]);
  const bool two = command->name.find(' ') != command->name.npos;
  words.erase(words.begin(), words.begin() + (two ? 2 : 1));
  if (words.size() < command->count.least || words.size() > command->count.most) {
    co_return fmt::format("usage: {} {}\n", command->name, command->arguments);
  }
  co_return co_await command->run(monitor_, std::move(words));
}

Task<void> HumanSession::run() {
  Result<void> said = co_await say(
      fmt::format("Ashlar {} monitor - type 'help' for more information\n{}", version(), kPrompt));
  std::string line;
  std::array<std::byte, 1024> bytes;
  const MutableBuffers into(bytes.data(), bytes.size());
  while (said && !quitting_) {
    const Result<size_t> got = co_await stream_.read_some(into);
    if (!got || *got == 0) break;
    line.append(reinterpret_cast<const char*>(bytes.data()), *got);
    for (size_t end = line.find('\n'); end != line.npos && !quitting_ && said;
         end = line.find('\n')) {
      std::string one = line.substr(0, end);
      line.erase(0, end + 1);
      std::string text = co_await answer(std::move(one));
      said = co_await say(text + std::string(kPrompt));
    }
    if (line.size() > kLongestLine) break;  // nobody types so much
  }
  if (quitting_) monitor_.quit();
}

}  // namespace ashlar::tools
