// Reading of the storage daemon's command line.
#include "tools/storage_daemon/command_line.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/common/tool.h"

namespace ashlar::tools {
namespace {

struct DaemonRow {
  std::string_view name;
  char letter;
  std::string_view value;  // empty: takes none
  std::string_view help;
};

constexpr DaemonRow kRows[] = {
    {"blockdev", 0, "[driver=]DRIVER,node-name=N[,...]", "open a node"},
    {"backend", 0, "id=ID[,node-name=N][,...]", "make a named backend"},
    {"chardev", 0, "TYPE,id=ID[,...]", "make a channel: socket, stdio, pipe, pty, file, null"},
    {"export", 0, "[type=]TYPE,id=ID,node-name=N[,...]", "export a node, or backend=ID"},
    {"monitor", 0, "[chardev=]ID[,mode=control|readline][,pretty=on]",
     "serve QMP or commands for people on a channel"},
    {"nbd-server", 0, "addr.type=TYPE,addr.KEY=VALUE[,...]", "start the NBD server"},
    {"object", 0, "[qom-type=]TYPE,id=ID[,...]", "make a secret, iothread ..."},
    {"draw-graph", 0, "FILE", "draw the graph as it is then: DOT, or SVG for FILE.svg"},
    {"daemonize", 0, "", "go to the background when everything is ready"},
    {"pidfile", 0, "FILE", "write the process id there when everything is ready"},
    {"untrusted", 0, "", "open no file that an image names"},
    {"trace", 'T', "PATTERN", "accepted for compatibility: there are no traces"},
    {"help", 'h', "", "show this and exit"},
    {"version", 'V', "", "show the version and exit"},
};

std::string help_text(const Program& program) {
  std::string text = fmt::format(
      "Usage: {} [OPTION]...\nOptions are carried out from left to right:\n", program.path());
  for (const DaemonRow& row : kRows) {
    std::string left = row.letter == 0 ? "      " : fmt::format("  -{}, ", row.letter);
    left += fmt::format("--{} {}", row.name, row.value);
    text += fmt::format("{}\n          {}\n", left, row.help);
  }
  return text + "SIGTERM, SIGINT and SIGHUP end exports, flush everything and end the program.\n";
}

const DaemonRow* find_row(std::string_view word) {
  if (word.starts_with("--")) {
    const auto found = std::ranges::find(kRows, word.substr(2), &DaemonRow::name);
    return found == std::end(kRows) ? nullptr : found;
  }
  if (word.size() != 2) return nullptr;
  const auto found = std::ranges::find(kRows, word[1], &DaemonRow::letter);
  return found == std::end(kRows) ? nullptr : found;
}

/// Options that are not steps.
void note(DaemonOptions& options, const DaemonRow& row, std::string_view value) {
  if (row.name == "daemonize") {
    options.daemonize = true;
  } else if (row.name == "untrusted") {
    options.untrusted = true;
  } else if (row.name == "pidfile") {
    options.pid_file = std::string(value);
  } else if (row.name != "trace") {
    options.steps.push_back({row.name, std::string(value)});
  }
}

}  // namespace

std::expected<DaemonOptions, int> parse_daemon_options(Program& program,
                                                       std::span<char* const> words) {
  DaemonOptions options;
  const auto complain = [&program](const std::string& message) {
    program.error(message);
    return std::unexpected(kFailure);
  };
  while (!words.empty()) {
    const std::string_view word = words.front();
    words = words.subspan(1);
    if (!word.starts_with('-') || word == "-") {
      return complain(fmt::format("{}: Unexpected argument", word));
    }
    const size_t equals = word.starts_with("--") ? word.find('=') : word.npos;
    const DaemonRow* row = find_row(word.substr(0, equals));
    if (row == nullptr) {
      return complain(fmt::format("unrecognized option '{}'", word.substr(0, equals)));
    }
    if (row->name == "help") {
      program.out().write(help_text(program));
      return std::unexpected(kSuccess);
    }
    if (row->name == "version") {
      print_version(program);
      return std::unexpected(kSuccess);
    }
    std::string_view value;
    if (equals != word.npos) {
      if (row->value.empty()) {
        return complain(fmt::format("option '--{}' doesn't allow an argument", row->name));
      }
      value = word.substr(equals + 1);
    } else if (!row->value.empty()) {
      if (words.empty()) return complain(fmt::format("option '{}' requires an argument", word));
      value = words.front();
      words = words.subspan(1);
    }
    note(options, *row, value);
  }
  return options;
}

}  // namespace ashlar::tools
