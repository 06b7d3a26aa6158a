// Option dictionaries: key=value text, subtrees, and the conversion of single values.
#include "ashlar/options.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "options/shared.h"

namespace ashlar {
namespace {

using options_detail::text_of;

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::optional<bool> switch_of(const OptionValue& value) {
  if (const bool* on = std::get_if<bool>(&value)) return *on;
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return std::nullopt;
  constexpr std::array<std::string_view, 4> kOn = {"on", "yes", "true", "y"};
  constexpr std::array<std::string_view, 4> kOff = {"off", "no", "false", "n"};
  if (std::ranges::find(kOn, *text) != kOn.end()) return true;
  if (std::ranges::find(kOff, *text) != kOff.end()) return false;
  return std::nullopt;
}

std::unexpected<Error> bad_switch(std::string_view name, const OptionValue& value) {
  const std::string text = text_of(value);
  return fail(Error(ErrorCode::kInvalidArgument,
                    "option " + quoted(name) + " wants on or off, not " + quoted(text))
                  .because("option-switch", {std::string(name), text}));
}

/// Takes the value at the start of `text`, with ",," for a comma, up to a single comma or the end.
std::string take_value(std::string_view& text) {
  std::string value;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    value += text.substr(0, comma);
    if (comma == std::string_view::npos) {
      text = {};
      break;
    }
    const bool doubled = comma + 1 < text.size() && text[comma + 1] == ',';
    text.remove_prefix(comma + (doubled ? 2 : 1));
    if (!doubled) break;
    value += ',';
  }
  return value;
}

}  // namespace

std::string options_detail::text_of(const OptionValue& value) {
  struct Visitor {
    std::string operator()(std::monostate) const { return {}; }
    std::string operator()(bool on) const { return on ? "on" : "off"; }
    std::string operator()(int64_t number) const { return std::to_string(number); }
    std::string operator()(double number) const {
      char shortest[32];  // that reads as the same number
      std::string text(shortest, std::to_chars(shortest, shortest + sizeof shortest, number).ptr);
      const bool looks_whole = text.find_first_not_of("-0123456789") == text.npos;
      return looks_whole ? text + ".0" : text;
    }
    std::string operator()(const std::string& text) const { return text; }
  };
  return std::visit(Visitor(), value);
}

Result<void> options_detail::check_key(std::string_view key) {
  if (key.empty()) {
    return fail(Error(ErrorCode::kInvalidArgument, "an option has no name")
                    .because("option-name", {std::string(key)}));
  }
  const auto depth = static_cast<size_t>(std::ranges::count(key, '.')) + 1;
  if (key.size() > kMaxKeyLength || depth > OptionDict::kMaxDepth) {
    return fail(
        Error(ErrorCode::kTooLarge, "the name of an option has " + std::to_string(key.size()) +
                                        " bytes and " + std::to_string(depth) + " parts, at most " +
                                        std::to_string(kMaxKeyLength) + " and " +
                                        std::to_string(OptionDict::kMaxDepth) + " are allowed")
            .because("options-limit"));
  }
  return ok();
}

Result<void> options_detail::check_text(std::string_view text) {
  if (text.size() > OptionDict::kMaxTextLength) {
    return fail(Error(ErrorCode::kTooLarge,
                      "options have " + std::to_string(text.size()) + " bytes, at most " +
                          std::to_string(OptionDict::kMaxTextLength) + " are allowed")
                    .because("options-limit"));
  }
  if (text.find('\0') != std::string_view::npos) {
    return fail(Error(ErrorCode::kInvalidArgument, "options contain a zero byte")
                    .because("options-zero-byte"));
  }
  return ok();
}

Result<void> options_detail::check_count(const OptionDict& dict) {
  if (dict.entries().size() <= OptionDict::kMaxEntries) return ok();
  return fail(Error(ErrorCode::kTooLarge,
                    "more than " + std::to_string(OptionDict::kMaxEntries) + " options")
                  .because("options-limit"));
}

Result<OptionDict> OptionDict::parse_key_value(std::string_view text,
                                               std::string_view implied_key) {
  if (Result<void> fits = options_detail::check_text(text); !fits) return fail(fits.error());
  OptionDict dict;
  for (bool first = true; !text.empty(); first = false) {
    const size_t name_end = text.find_first_of("=,");
    const bool has_value = name_end != std::string_view::npos && text[name_end] == '=';
    std::string name(implied_key);
    std::string value;
    if (has_value || !first || implied_key.empty()) {
      name = text.substr(0, name_end);
      text.remove_prefix(name_end == std::string_view::npos ? text.size() : name_end + 1);
      value = has_value ? take_value(text) : "on";
    } else {
      value = take_value(text);
    }
    if (Result<void> right = options_detail::check_key(name); !right) return fail(right.error());
    dict.set(name, std::move(value));
    if (Result<void> fits = options_detail::check_count(dict); !fits) return fail(fits.error());
  }
  return dict;
}

void OptionDict::set(std::string_view key, OptionValue value) {
  const auto found = std::ranges::find(entries_, key, &Entry::first);
  if (found == entries_.end()) {
    entries_.emplace_back(std::string(key), std::move(value));
  } else {
    found->second = std::move(value);
  }
}

void OptionDict::erase(std::string_view key) {
  std::erase_if(entries_, [key](const Entry& entry) { return entry.first == key; });
}

const OptionValue* OptionDict::find(std::string_view key) const {
  const auto found = std::ranges::find(entries_, key, &Entry::first);
  return found == entries_.end() ? nullptr : &found->second;
}

std::optional<std::string> OptionDict::text(std::string_view key) const {
  const OptionValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  return text_of(*value);
}

std::optional<std::string> OptionDict::take_text(std::string_view key) {
  std::optional<std::string> taken = text(key);
  if (taken) erase(key);
  return taken;
}

Result<std::optional<bool>> OptionDict::take_switch(std::string_view key) {
  const OptionValue* value = find(key);
  if (value == nullptr) return std::optional<bool>();
  const std::optional<bool> on = switch_of(*value);
  if (!on) return bad_switch(key, *value);
  erase(key);
  return on;
}

namespace {
bool is_below(std::string_view key, std::string_view prefix) {
  return key.size() > prefix.size() && key.starts_with(prefix) && key[prefix.size()] == '.';
}
}  // namespace

bool OptionDict::has_subtree(std::string_view prefix) const {
  return std::ranges::any_of(
      entries_, [prefix](const Entry& entry) { return is_below(entry.first, prefix); });
}

OptionDict OptionDict::take_subtree(std::string_view prefix) {
  OptionDict taken;
  std::vector<Entry> left;
  for (Entry& entry : entries_) {
    if (is_below(entry.first, prefix)) {
      taken.entries_.emplace_back(entry.first.substr(prefix.size() + 1), std::move(entry.second));
    } else {
      left.push_back(std::move(entry));
    }
  }
  entries_ = std::move(left);
  return taken;
}

void OptionDict::add_subtree(std::string_view prefix, const OptionDict& other) {
  for (const auto& [key, value] : other.entries_) set(std::string(prefix) + "." + key, value);
}

Result<bool> option_switch(const OptionDescription& option, const OptionValue& value) {
  const std::optional<bool> on = switch_of(value);
  if (!on) return bad_switch(option.name, value);
  return *on;
}

Result<uint64_t> option_unsigned(const OptionDescription& option, const OptionValue& value) {
  const std::string text = text_of(value);
  const bool is_number = option.type == OptionType::kNumber;
  const Result<uint64_t> parsed = is_number ? parse_number(text) : parse_size(text);
  if (parsed && !std::holds_alternative<bool>(value)) return *parsed;
  if (!parsed && parsed.error().reason() == "size-range") {
    return fail(
        Error(ErrorCode::kInvalidArgument,
              "option " + quoted(option.name) + " wants less than 2^64 bytes, not " + quoted(text))
            .because("option-range", {std::string(option.name), text}));
  }
  const char* wanted = is_number ? " wants a number, not " : " wants a size such as 64k, not ";
  return fail(
      Error(ErrorCode::kInvalidArgument, "option " + quoted(option.name) + wanted + quoted(text))
          .because(is_number ? "option-number" : "option-size", {std::string(option.name), text}));
}

Result<std::string> option_text(const OptionDescription& option, const OptionValue& value) {
  std::string text = text_of(value);
  if (option.choices.empty() || std::ranges::find(option.choices, text) != option.choices.end()) {
    return text;
  }
  std::string allowed;
  for (std::string_view choice : option.choices) {
    if (!allowed.empty()) allowed += choice == option.choices.back() ? " or " : ", ";
    allowed += choice;
  }
  return fail(Error(ErrorCode::kInvalidArgument,
                    "option " + quoted(option.name) + " wants " + allowed + ", not " + quoted(text))
                  .because("option-choice", {std::string(option.name), text}));
}

}  // namespace ashlar
