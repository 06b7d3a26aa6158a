// Options: one flat dictionary for every way they can be written, and one table per driver that
// names, types and documents them. Parsing, help, schema and the manual come from the table.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "ashlar/error.h"

namespace ashlar {

/// null, true/false, a number, or text. Key=value input gives only text; JSON gives all.
using OptionValue = std::variant<std::monostate, bool, int64_t, double, std::string>;

/// Options in order of first appearance. Nested objects are dotted keys ("file.filename"), list
/// elements are numbered keys ("children.0.driver"). Setting a key again replaces its value.
class OptionDict {
 public:
  using Entry = std::pair<std::string, OptionValue>;

  /// `a=b,c.d=e`; `,,` is a literal comma; `flag` means `flag=on`; the first element without `=`
  /// is the value of `implied_key` when that is not empty.
  /// Errors: kInvalidArgument.
  static Result<OptionDict> parse_key_value(std::string_view text,
                                            std::string_view implied_key = {});
  /// A JSON object, flattened. Depth, length and count are limited (kMaxDepth ...).
  /// Texts may have single quotes. A name that is there twice in one object is an error.
  static Result<OptionDict> parse_json(std::string_view text);

  bool empty() const { return entries_.empty(); }
  std::span<const Entry> entries() const { return entries_; }

  void set(std::string_view key, OptionValue value);
  void erase(std::string_view key);
  const OptionValue* find(std::string_view key) const;
  /// The value as the user would write it in key=value form; empty when absent.
  std::optional<std::string> text(std::string_view key) const;
  /// text(), and removes the key.
  std::optional<std::string> take_text(std::string_view key);
  /// Removes a switch. Accepts true/false, on/off, yes/no, true/false in text.
  Result<std::optional<bool>> take_switch(std::string_view key);

  bool has_subtree(std::string_view prefix) const;
  /// Removes every "prefix.x" and returns them as "x".
  OptionDict take_subtree(std::string_view prefix);
  /// Adds every entry of `other` as "prefix.x".
  void add_subtree(std::string_view prefix, const OptionDict& other);

  /// As `json:{"driver": "qcow2", "file": {...}}`: a blank after each ':' and ','.
  std::string to_json_name() const;

  static constexpr unsigned kMaxDepth = 64;
  static constexpr size_t kMaxTextLength = 1 << 20;
  static constexpr size_t kMaxEntries = 4096;

 private:
  std::vector<Entry> entries_;
};

/// How an option's text is read and how help shows it.
enum class OptionType : uint8_t { kText, kSwitch, kSize, kNumber, kChoice };

/// One row of a table, without the struct it fills: for help, schema and manual.
struct OptionDescription {
  std::string_view name;
  OptionType type;
  std::string_view help;
  std::string_view default_text;                ///< shown to users; empty: none
  std::span<const std::string_view> choices{};  ///< of kChoice
};

/// An option that is an object or a list rather than one value: a child, where a server is. For
/// schemas; whoever owns the table takes it (OpenContext::open_child, SocketAddress::take).
struct ObjectOption {
  std::string_view name;
  enum class Kind : uint8_t {
    kChild,
    kBacking,
    kSocketAddress,
    kBitmaps,  ///< a list of names, or of {node, name}
  } kind = Kind::kChild;
  enum class Need : uint8_t { kRequired, kOptional } need = Need::kRequired;
};

/// Reads "64k", "1.5G", "0x1000": base 1024 suffixes b k M G T P E, as the peer's tools.
/// Errors: kInvalidArgument (reason "size-syntax" or "size-range").
Result<uint64_t> parse_size(std::string_view text);
/// Reads a count: decimal, 0x hex or 0 octal, no suffix.
Result<uint64_t> parse_number(std::string_view text);

/// One row of a table for `Struct`: where the value goes and how it is described.
template <typename Struct>
struct Option {
  using Member = std::variant<std::string Struct::*, std::optional<std::string> Struct::*,
                              bool Struct::*, std::optional<bool> Struct::*, uint64_t Struct::*,
                              std::optional<uint64_t> Struct::*>;
  OptionDescription description;
  Member member;
};

template <typename Struct, typename T>
constexpr Option<Struct> option(std::string_view name, T Struct::* member, std::string_view help,
                                std::string_view default_text = {}) {
  constexpr bool is_switch = std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>>;
  constexpr bool is_size =
      std::is_same_v<T, uint64_t> || std::is_same_v<T, std::optional<uint64_t>>;
  return {{name,
           is_switch ? OptionType::kSwitch
           : is_size ? OptionType::kSize
                     : OptionType::kText,
           help, default_text},
          member};
}
/// A count rather than a size in bytes.
template <typename Struct, typename T>
constexpr Option<Struct> number_option(std::string_view name, T Struct::* member,
                                       std::string_view help, std::string_view default_text = {}) {
  return {{name, OptionType::kNumber, help, default_text}, member};
}
/// One of a fixed set of words.
template <typename Struct, typename T>
constexpr Option<Struct> choice_option(std::string_view name, T Struct::* member,
                                       std::span<const std::string_view> choices,
                                       std::string_view help, std::string_view default_text = {}) {
  return {{name, OptionType::kChoice, help, default_text, choices}, member};
}

/// Converts one value for one row. Errors: kInvalidArgument naming option, value and what is
/// allowed (reasons "option-switch", "option-size", "option-number", "option-choice").
Result<bool> option_switch(const OptionDescription& option, const OptionValue& value);
Result<uint64_t> option_unsigned(const OptionDescription& option, const OptionValue& value);
Result<std::string> option_text(const OptionDescription& option, const OptionValue& value);

/// Fills a `Struct` from `dict` and removes the keys its table names; others are left.
/// `Struct::table()` is the table.
template <typename Struct>
Result<Struct> take_options(OptionDict& dict) {
  Struct parsed;
  for (const Option<Struct>& row : Struct::table()) {
    const OptionValue* value = dict.find(row.description.name);
    if (value == nullptr) continue;
    if (std::holds_alternative<std::monostate>(*value)) {  // null: as if it were not there
      dict.erase(row.description.name);
      continue;
    }
    Result<void> stored = std::visit(
        [&](auto member) -> Result<void> {
          using T = std::remove_cvref_t<decltype(parsed.*member)>;
          auto store = [&](auto converted) -> Result<void> {
            if (!converted) return fail(converted.error());
            parsed.*member = std::move(*converted);
            return ok();
          };
          if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>>) {
            return store(option_switch(row.description, *value));
          } else if constexpr (std::is_same_v<T, uint64_t> ||
                               std::is_same_v<T, std::optional<uint64_t>>) {
            return store(option_unsigned(row.description, *value));
          } else {
            return store(option_text(row.description, *value));
          }
        },
        row.member);
    if (!stored) return fail(stored.error());
    dict.erase(row.description.name);
  }
  return parsed;
}

/// The descriptions of a table, for DriverSpec.
template <typename Struct>
std::vector<OptionDescription> describe_options() {
  std::vector<OptionDescription> rows;
  for (const Option<Struct>& row : Struct::table()) rows.push_back(row.description);
  return rows;
}

}  // namespace ashlar
