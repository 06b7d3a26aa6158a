// Options written as JSON: reading an object into a flat dictionary, and json: names.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "ashlar/options.h"
#include "options/shared.h"

namespace ashlar {
namespace {

/// Options have always been written with single quotes as well, to spare shell users the escapes.
/// Turns 'text' into "text".
std::string with_double_quotes(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  char quote = 0;  // of the string we are in
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (quote != 0 && c == '\\' && at + 1 < text.size()) {
      const char escaped = text[++at];
      if (escaped != '\'') result += c;
      result += escaped;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
      result += '"';
    } else if (c == quote) {
      quote = 0;
      result += '"';
    } else {
      if (c == '"') result += '\\';
      result += c;
    }
  }
  return result;
}

/// Takes the parser's events and fills a dictionary. Every event returns whether to go on.
class Flattener final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Flattener(size_t text_length) : text_length_(text_length) {}

  Result<OptionDict> result() && {
    if (error_) return fail(std::move(*error_));
    return std::move(dict_);
  }

  bool null() override { return add(std::monostate()); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(int64_t value) override { return add(value); }
  bool number_unsigned(uint64_t value) override {
    // What is above the signed range stays exact as text.
    if (value > uint64_t{INT64_MAX}) return add(std::to_string(value));
    return add(static_cast<int64_t>(value));
  }
  bool number_float(double value, const std::string&) override {
    if (std::trunc(value) == value && std::abs(value) < 0x1p63) {
      return add(static_cast<int64_t>(value));
    }
    return add(value);
  }
  bool string(std::string& value) override {
    if (!without_zero_byte(value)) return false;
    return add(std::move(value));
  }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Level::kObject); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override {
    return levels_.empty() ? refuse_all_but_objects() : open(Level::kArray);
  }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    if (!without_zero_byte(name)) return false;
    Level& level = levels_.back();
    if (!level.names.insert(name).second) {
      return refuse(Error(ErrorCode::kInvalidArgument, "json: \"" + name + "\" is there twice")
                        .because("json-duplicate-key", {name}));
    }
    level.name = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::json::exception& why) override {
    // The parser calls numbers out of range that no double can hold.
    const bool number = why.id == 406;
    if (!number && position > text_length_) {
      return refuse(
          Error(ErrorCode::kInvalidArgument, "json: the text ends too early").because("json-end"));
    }
    return refuse(Error(ErrorCode::kInvalidArgument, (number ? "json: number out of range at byte "
                                                             : "json: syntax error at byte ") +
                                                         std::to_string(position))
                      .because(number ? "json-number" : "json-syntax", {std::to_string(position)}));
  }

 private:
  struct Level {
    enum Kind : uint8_t { kObject, kArray } kind;
    size_t path_length;             // of the path to this level
    size_t index = 0;               // of an array's next element
    std::string name{};             // of an object's current member
    std::set<std::string> names{};  // of an object's members so far
  };

  bool refuse(Error error) {
    error_ = std::move(error);
    return false;
  }
  bool refuse_all_but_objects() {
    return refuse(Error(ErrorCode::kInvalidArgument, "json: options want an object")
                      .because("json-not-object"));
  }
  bool without_zero_byte(const std::string& text) {
    if (text.find('\0') == std::string::npos) return true;
    return refuse(Error(ErrorCode::kInvalidArgument, "json: a text contains a zero byte")
                      .because("options-zero-byte"));
  }

  /// Makes path_ that of the next value of the innermost level.
  void enter_value() {
    Level& level = levels_.back();
    path_.resize(level.path_length);
    if (levels_.size() > 1) path_ += '.';
    path_ += level.kind == Level::kArray ? std::to_string(level.index++) : level.name;
  }
  bool add(OptionValue value) {
    if (levels_.empty()) return refuse_all_but_objects();
    enter_value();
    if (Result<void> right = options_detail::check_key(path_); !right) {
      return refuse(right.error());
    }
    dict_.set(path_, std::move(value));
    Result<void> fits = options_detail::check_count(dict_);
    return fits ? true : refuse(fits.error());
  }
  bool open(Level::Kind kind) {
    if (!levels_.empty()) enter_value();
    if (levels_.size() == OptionDict::kMaxDepth) {
      return refuse(Error(ErrorCode::kTooLarge,
                          "json: nested deeper than " + std::to_string(OptionDict::kMaxDepth))
                        .because("options-limit"));
    }
    levels_.push_back({.kind = kind, .path_length = path_.size()});
    return true;
  }
  bool close() {
    levels_.pop_back();
    return true;
  }

  size_t text_length_;
  OptionDict dict_;
  std::optional<Error> error_;
  std::vector<Level> levels_;
  std::string path_;
};

/// One code point from the start of `text`, which is taken; U+FFFD for what is not UTF-8.
uint32_t take_code_point(std::string_view& text) {
  constexpr uint32_t kReplacement = 0xfffd;
  const auto byte = [&text](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned first = byte(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;
  uint32_t point = length <= 1 ? first : first & (0x7fu >> length);
  size_t at = 1;
  while (at < length && at < text.size() && (byte(at) & 0xc0) == 0x80) {
    point = point << 6 | (byte(at++) & 0x3f);
  }
  const bool whole = length != 0 && at == length;
  text.remove_prefix(at);
  const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
  const bool surrogate = point >= 0xd800 && point < 0xe000;
  return !whole || overlong || surrogate || point > 0x10ffff ? kReplacement : point;
}

void append_escaped(std::string& out, uint32_t unit) {
  char text[8];
  std::snprintf(text, sizeof text, "\\u%04X", unit);
  out += text;
}

void append_string(std::string& out, std::string_view text) {
  constexpr std::string_view kNamed = "\"\\\b\f\n\r\t";
  constexpr std::string_view kLetters = "\"\\bfnrt";
  out += '"';
  while (!text.empty()) {
    const uint32_t point = take_code_point(text);
    const size_t named = point < 0x80 ? kNamed.find(static_cast<char>(point)) : kNamed.npos;
    if (named != kNamed.npos) {
      out += '\\';
      out += kLetters[named];
    } else if (point >= 0x20 && point < 0x7f) {
      out += static_cast<char>(point);
    } else if (point < 0x10000) {
      append_escaped(out, point);
    } else {
      append_escaped(out, 0xd800 + ((point - 0x10000) >> 10));
      append_escaped(out, 0xdc00 + ((point - 0x10000) & 0x3ff));
    }
  }
  out += '"';
}

void append_value(std::string& out, const OptionValue& value) {
  if (std::holds_alternative<std::monostate>(value)) {
    out += "null";
  } else if (const bool* on = std::get_if<bool>(&value)) {
    out += *on ? "true" : "false";
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    append_string(out, *text);
  } else {
    out += options_detail::text_of(value);
  }
}

/// Dotted keys as the tree they describe, in order of first appearance.
struct Tree {
  std::string name;
  const OptionValue* value = nullptr;  // of a leaf
  std::vector<Tree> members{};

  Tree& member(std::string_view wanted) {
    for (Tree& each : members) {
      if (each.name == wanted && each.value == nullptr) return each;
    }
    return members.emplace_back(Tree{.name = std::string(wanted)});
  }
  /// Are the members "0", "1" ... in this order?
  bool is_list() const {
    for (size_t index = 0; index < members.size(); ++index) {
      if (members[index].name != std::to_string(index)) return false;
    }
    return !members.empty();
  }
};

void append_tree(std::string& out, const Tree& tree);

void append_list(std::string& out, const Tree& tree) {
  std::string_view separator;
  out += '[';
  for (const Tree& member : tree.members) {
    out += std::exchange(separator, ", ");
    append_tree(out, member);
  }
  out += ']';
}

void append_object(std::string& out, const Tree& tree) {
  std::string_view separator;
  out += '{';
  for (const Tree& member : tree.members) {
    out += std::exchange(separator, ", ");
    append_string(out, member.name);
    out += ": ";
    append_tree(out, member);
  }
  out += '}';
}

void append_tree(std::string& out, const Tree& tree) {
  if (tree.value != nullptr) {
    append_value(out, *tree.value);
  } else if (tree.is_list()) {
    append_list(out, tree);
  } else {
    append_object(out, tree);
  }
}

}  // namespace

Result<OptionDict> OptionDict::parse_json(std::string_view text) {
  if (Result<void> fits = options_detail::check_text(text); !fits) return fail(fits.error());
  const std::string json = with_double_quotes(text);
  Flattener flattener(json.size());
  nlohmann::json::sax_parse(json, &flattener);
  return std::move(flattener).result();
}

std::string OptionDict::to_json_name() const {
  std::set<std::string_view> leaves;
  for (const Entry& entry : entries_) leaves.insert(entry.first);
  Tree root;
  for (const auto& [key, value] : entries_) {
    Tree* at = &root;
    size_t start = 0;
    // Where "a" has a value of its own, "a.b" cannot be inside of it and keeps its dotted name.
    for (size_t dot = key.find('.'); dot != key.npos; dot = key.find('.', start)) {
      if (leaves.contains(std::string_view(key).substr(0, dot))) break;
      at = &at->member(std::string_view(key).substr(start, dot - start));
      start = dot + 1;
    }
    at->members.push_back({.name = key.substr(start), .value = &value});
  }
  std::string name = "json:";
  append_object(name, root);
  return name;
}

}  // namespace ashlar
