// One program, several tools: its own name, or its first argument, says which.
#include <csignal>
#include <string>

#include "tools/common/program.h"
#include "tools/common/tool.h"
#include "tools/img/img.h"
#include "tools/io/io.h"
#include "tools/nbd/nbd.h"
#include "tools/storage_daemon/storage_daemon.h"

namespace ashlar::tools {
namespace {

constexpr Tool kTools[] = {
    {"img", "create, inspect and change disk images", run_img},
    {"io", "read and write images command by command", run_io},
    {"nbd", "serve images over NBD", run_nbd},
    {"storage-daemon", "serve images under control of a monitor", run_storage_daemon},
};

void print_help(Program& program) {
  std::string text = "Usage: " + program.path() + " TOOL [ARGUMENT]...\nTools:\n";
  for (const Tool& tool : kTools) {
    std::string name(tool.name);
    name.resize(16, ' ');
    text.append("  ").append(name).append(tool.summary).append("\n");
  }
  program.out().write(
      text + "The program acts as one of them, too, when its name ends in the tool's name.\n");
}

/// The program was called by a name that is no tool: the first word must be one.
int run_by_first_word(const std::string& path, std::string_view base_name,
                      std::span<char* const> words) {
  const std::string_view first = words.empty() ? std::string_view() : words.front();
  if (const Tool* tool = find_tool(kTools, first)) {
    Program program(path + " " + std::string(first), "ashlar-" + std::string(tool->name));
    return program.finish(tool->run(program, words.subspan(1)));
  }
  Program program(path, std::string(base_name));
  if (first == "--version" || first == "-V") {
    print_version(program);
    return program.finish(kSuccess);
  }
  if (first == "--help" || first == "-h") {
    print_help(program);
    return program.finish(kSuccess);
  }
  return usage_error(
      program, {},
      words.empty() ? "Not enough arguments" : "Tool not found: " + std::string(first));
}

int run(std::span<char* const> words) {
  const std::string path = words.empty() ? "ashlar" : words.front();
  const std::string_view base_name = std::string_view(path).substr(path.find_last_of('/') + 1);
  if (!words.empty()) words = words.subspan(1);
  const Tool* tool = find_tool(kTools, base_name);
  if (tool == nullptr) return run_by_first_word(path, base_name, words);
  Program program(path, std::string(base_name));
  return program.finish(tool->run(program, words));
}

}  // namespace
}  // namespace ashlar::tools

int main(int argc, char** argv) {
  // A closed pipe is then an error of the write, which Program::finish() reports.
  std::signal(SIGPIPE, SIG_IGN);
  return ashlar::tools::run({argv, static_cast<size_t>(argc)});
}
