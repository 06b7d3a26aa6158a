// Parsing of a command's words by its table, on getopt_long.
#include "tools/common/arguments.h"

#include <getopt.h>

#include <string>

namespace ashlar::tools {
namespace {

constexpr OptionRow kHelpRow{.name = "help", .letter = 'h', .help = "show this help and exit"};
constexpr int kFirstRow = 256;  // values that getopt_long returns: no letter is that large

/// A table in the form of getopt_long.
struct Getopt {
  std::string letters;
  std::vector<std::string> names;  // zero-terminated copies
  std::vector<option> longs;

  explicit Getopt(std::span<const OptionRow> rows) {
    names.reserve(rows.size());
    for (const OptionRow& row : rows) {
      const int value = kFirstRow + static_cast<int>(names.size());
      if (row.letter != 0) {
        letters += row.letter;
        if (!row.value.empty()) letters += ':';
      }
      names.emplace_back(row.name);
      if (row.name.empty()) continue;
      longs.push_back({names.back().c_str(), row.value.empty() ? no_argument : required_argument,
                       nullptr, value});
    }
    longs.push_back({});
  }
};

const OptionRow* find_row(std::span<const OptionRow> rows, int found) {
  if (found >= kFirstRow) return &rows[static_cast<size_t>(found - kFirstRow)];
  for (const OptionRow& row : rows) {
    if (row.letter == found) return &row;
  }
  return nullptr;
}

bool is_negative_number(std::string_view word) {
  return word.size() > 1 && word[0] == '-' && word[1] >= '0' && word[1] <= '9';
}

std::string hint(const Program& program, std::string_view command) {
  std::string text = "Try '" + program.path() + " ";
  if (!command.empty()) text.append(command).append(" ");
  return text + "--help' for more information";
}

/// "-f, --format FMT"
std::string left_column(const OptionRow& row) {
  std::string text = "  ";
  if (row.letter != 0) text.append("-").append(1, row.letter);
  if (row.letter != 0 && !row.name.empty()) text += ", ";
  if (!row.name.empty()) text.append("--").append(row.name);
  if (!row.value.empty()) text.append(" ").append(row.value);
  return text;
}

void append_row(std::string& text, const OptionRow& row) {
  constexpr size_t kColumn = 34;
  std::string left = left_column(row);
  if (left.size() + 2 > kColumn) {
    text.append(left).append("\n");
    left.clear();
  }
  left.resize(kColumn, ' ');
  text.append(left).append(row.help).append("\n");
}

}  // namespace

std::optional<std::string_view> Arguments::value(std::string_view option) const {
  std::optional<std::string_view> last;
  for (const Given& given : given_) {
    if (given.option == option) last = given.value;
  }
  return last;
}

std::vector<std::string_view> Arguments::values(std::string_view option) const {
  std::vector<std::string_view> all;
  for (const Given& given : given_) {
    if (given.option == option) all.push_back(given.value);
  }
  return all;
}

std::expected<Arguments, int> parse_arguments(Program& program, const Command& command,
                                              std::span<char* const> words) {
  std::vector<OptionRow> rows(command.options.begin(), command.options.end());
  rows.push_back(kHelpRow);
  const Getopt table(rows);

  // getopt_long complains in the name of the first word.
  std::string called = program.path();
  if (!command.name.empty()) called.append(" ").append(command.name);
  std::vector<char*> argv{called.data()};
  argv.insert(argv.end(), words.begin(), words.end());
  std::optional<std::string_view> negative;
  if (command.last_word == Command::LastWord::kMayBeNegative && !words.empty() &&
      is_negative_number(words.back())) {
    negative = words.back();
    argv.pop_back();
  }
  const int count = static_cast<int>(argv.size());
  argv.push_back(nullptr);

  Arguments arguments(command);
  optind = 0;  // start over: glibc keeps its place between calls
  for (;;) {
    const int found =
        getopt_long(count, argv.data(), table.letters.c_str(), table.longs.data(), nullptr);
    if (found == -1) break;
    const OptionRow* row = find_row(rows, found);
    if (row == nullptr) {
      program.note(hint(program, command.name));
      return std::unexpected(kFailure);
    }
    if (row->name == kHelpRow.name) {
      program.out().write(command_help(program, command));
      return std::unexpected(kSuccess);
    }
    arguments.add({row->same_as.empty() ? row->name : row->same_as,
                   row->value.empty() ? std::string_view() : std::string_view(optarg)});
  }
  for (int index = optind; index < count; ++index) {
    arguments.add_operand(argv[static_cast<size_t>(index)]);
  }
  if (negative) arguments.add_operand(*negative);
  return arguments;
}

std::string command_help(const Program& program, const Command& command) {
  std::string text = "Usage: " + program.path();
  if (!command.name.empty()) text.append(" ").append(command.name);
  text += " [OPTION]...";
  if (!command.operands.empty()) text.append(" ").append(command.operands);
  text.append("\n").append(command.summary).append("\n\nArguments:\n");
  append_row(text, kHelpRow);
  for (const OptionRow& row : command.options) {
    if (!row.help.empty()) append_row(text, row);
  }
  return text;
}

int usage_error(const Program& program, std::string_view command, std::string_view message) {
  program.error(message);
  program.note(hint(program, command));
  return kFailure;
}

bool check_operands(const Program& program, const Arguments& arguments,
                    std::pair<size_t, size_t> least_and_most, std::string_view missing) {
  const auto operands = arguments.operands();
  const auto [least, most] = least_and_most;
  if (operands.size() >= least && operands.size() <= most) return true;
  // One operand too many is named where several are allowed; else the expectation says it all.
  const bool surplus = operands.size() > most && most > 1;
  usage_error(
      program, arguments.command().name,
      surplus ? "Unexpected argument: " + std::string(operands[most]) : std::string(missing));
  return false;
}

}  // namespace ashlar::tools
