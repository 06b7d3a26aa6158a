// Translation of errors and findings to the words of the peer's tools.
#include "tools/common/peer_text.h"

#include <algorithm>
#include <cstring>

#include "tools/common/peer_words.h"

namespace ashlar::tools {
namespace {

const PeerWords* find_words(std::string_view reason) {
  if (reason.empty()) return nullptr;
  const auto table = peer_words_table();
  const auto found = std::ranges::find(table, reason, &PeerWords::reason);
  return found == table.end() ? nullptr : &*found;
}

/// What a placeholder stands for; `error` is null where there is none.
std::string placeholder(std::string_view name, std::span<const std::string> values,
                        const Error* error) {
  if (name.size() == 1 && name[0] >= '0' && name[0] <= '9') {
    const auto index = static_cast<size_t>(name[0] - '0');
    return index < values.size() ? values[index] : std::string();
  }
  if (error == nullptr) return {};
  if (name == "errno") return std::strerror(error->os_error());
  if (name == "cause") {
    const std::optional<Error> cause = error->cause();
    if (cause) return peer_text(*cause);
    return values.empty() ? error->message() : values[0];
  }
  return {};
}

std::string fill_in(std::string_view text, std::span<const std::string> values,
                    const Error* error) {
  std::string filled;
  while (!text.empty()) {
    const size_t open = text.find('{');
    filled += text.substr(0, open);
    if (open == std::string_view::npos) break;
    const size_t close = text.find('}', open);
    filled += placeholder(text.substr(open + 1, close - open - 1), values, error);
    text.remove_prefix(close + 1);
  }
  return filled;
}

}  // namespace

std::string peer_text(const Error& error) {
  const PeerWords* words = find_words(error.reason());
  return words == nullptr ? error.message() : fill_in(words->text, error.values(), &error);
}

std::string peer_errno_text(const Error& error) {
  const PeerWords* words = find_words(error.reason());
  return words == nullptr ? std::strerror(error.os_error())
                          : fill_in(words->text, error.values(), &error);
}

std::string peer_finding_text(const CheckFinding& finding, std::string_view program) {
  const PeerWords* words = find_words(finding.reason);
  if (words == nullptr) return finding.message;
  std::string text;
  if (words->voice == PeerWords::Voice::kProgram) text.append(program).append(": ");
  return text + fill_in(words->text, finding.values, nullptr);
}

std::optional<std::string> peer_words(std::string_view reason,
                                      std::span<const std::string> values) {
  const PeerWords* words = find_words(reason);
  if (words == nullptr) return std::nullopt;
  return fill_in(words->text, values, nullptr);
}

}  // namespace ashlar::tools
