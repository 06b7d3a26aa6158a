// Single-letter options of one line, on getopt.
#include "tools/io/option_letters.h"

#include <getopt.h>

namespace ashlar::tools::io {

std::optional<OptionLetters> OptionLetters::parse(std::span<std::string> words,
                                                  const std::string& allowed) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  const int count = static_cast<int>(argv.size());
  argv.push_back(nullptr);

  OptionLetters letters;
  optind = 0;  // start over: glibc keeps its place between calls
  for (;;) {
    const int found = getopt(count, argv.data(), allowed.c_str());
    if (found == -1) break;
    if (found == '?') return std::nullopt;
    const char letter = static_cast<char>(found);
    letters.given_[index(letter)] = true;
    if (optarg == nullptr) continue;
    letters.values_[index(letter)] = optarg;
    letters.in_order_.emplace_back(letter, optarg);
  }
  for (int at = optind; at < count; ++at)
    letters.operands_.emplace_back(argv[static_cast<size_t>(at)]);
  return letters;
}

std::vector<std::string_view> OptionLetters::values(char letter) const {
  std::vector<std::string_view> all;
  for (const auto& [given, value] : in_order_) {
    if (given == letter) all.push_back(value);
  }
  return all;
}

}  // namespace ashlar::tools::io
