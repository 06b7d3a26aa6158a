// Options of the shell's commands: single letters, some with a value.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ashlar::tools::io {

/// The options and operands of one command line.
class OptionLetters {
 public:
  /// `allowed`: the letters; those with a value are followed by ':'. Empty for others: getopt has
  /// complained on stderr then, in the name of the first word.
  static std::optional<OptionLetters> parse(std::span<std::string> words,
                                            const std::string& allowed);

  bool has(char letter) const { return given_[index(letter)]; }
  /// The value given last.
  std::optional<std::string_view> value(char letter) const {
    return has(letter) ? std::optional(values_[index(letter)]) : std::nullopt;
  }
  /// All values of options that may be repeated, in order.
  std::vector<std::string_view> values(char letter) const;
  std::span<const std::string_view> operands() const { return operands_; }

 private:
  static size_t index(char letter) { return static_cast<unsigned char>(letter) & 127; }

  std::array<bool, 128> given_{};
  std::array<std::string_view, 128> values_{};
  std::vector<std::pair<char, std::string_view>> in_order_;
  std::vector<std::string_view> operands_;
};

}  // namespace ashlar::tools::io
