// Arguments of a command: one table per command, from which parsing and --help come.
#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tools/common/program.h"

namespace ashlar::tools {

/// One option of a command. Rows of every command also get --help.
struct OptionRow {
  std::string_view name;       ///< the long form, and what the option is called in Arguments
  char letter = 0;             ///< the short form; 0: none
  std::string_view value{};    ///< what stands for its value in --help; empty: it takes none
  std::string_view help{};     ///< empty: not shown
  std::string_view same_as{};  ///< another way to give the option of that name
};

class Arguments;

/// One command of a tool.
struct Command {
  std::string_view name;
  std::string_view operands;  ///< as --help shows them, e.g. "FILE [SIZE]"
  std::string_view summary;   ///< one line
  std::span<const OptionRow> options;
  int (*run)(Program& program, const Arguments& arguments);
  /// A last word such as "-512k" is an operand, not an option.
  enum class LastWord : uint8_t { kOrdinary, kMayBeNegative } last_word = LastWord::kOrdinary;
};

/// What was given to a command. Refers to the words of the command line.
class Arguments {
 public:
  struct Given {
    std::string_view option;
    std::string_view value;
  };

  explicit Arguments(const Command& command) : command_(&command) {}

  const Command& command() const { return *command_; }
  /// Options in the order they were given.
  std::span<const Given> given() const { return given_; }
  std::span<const std::string_view> operands() const { return operands_; }

  bool has(std::string_view option) const { return value(option).has_value(); }
  /// The value given last.
  std::optional<std::string_view> value(std::string_view option) const;
  std::vector<std::string_view> values(std::string_view option) const;

  void add(Given given) { given_.push_back(given); }
  void add_operand(std::string_view word) { operands_.push_back(word); }

 private:
  const Command* command_;
  std::vector<Given> given_;
  std::vector<std::string_view> operands_;
};

/// Reads the words after the command's name. Prints --help and complaints itself; the error is then
/// the status to exit with.
std::expected<Arguments, int> parse_arguments(Program& program, const Command& command,
                                              std::span<char* const> words);

/// The text of --help.
std::string command_help(const Program& program, const Command& command);

/// Prints `message` and the line that points to --help; `command` may be empty. Returns failure.
int usage_error(const Program& program, std::string_view command, std::string_view message);

/// Complains unless there are `least` to `most` operands: `missing` says what is expected.
bool check_operands(const Program& program, const Arguments& arguments,
                    std::pair<size_t, size_t> least_and_most, std::string_view missing);

}  // namespace ashlar::tools
