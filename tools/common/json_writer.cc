// JSON text.
#include "tools/common/json_writer.h"

#include <array>

namespace ashlar::tools {
namespace {

void append_unit(std::string& out, unsigned unit) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kDigits[(unit >> shift) & 15];
}

void append_code_point(std::string& out, unsigned code) {
  if (code < 0x10000) return append_unit(out, code);
  append_unit(out, 0xD800 + ((code - 0x10000) >> 10));
  append_unit(out, 0xDC00 + ((code - 0x10000) & 0x3FF));
}

struct Decoded {
  unsigned code;
  size_t length;
};

/// The character that `text` starts with; what is no UTF-8 becomes a replacement character.
Decoded decode(std::string_view text) {
  constexpr Decoded kInvalid{0xFFFD, 1};
  constexpr std::array<unsigned, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return {first, 1};
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 0;
  if (length == 0 || first >= 0xF8 || text.size() < length) return kInvalid;
  unsigned code = first & (0xFFU >> (length + 1));
  for (size_t at = 1; at < length; ++at) {
    const auto next = static_cast<unsigned char>(text[at]);
    if ((next & 0xC0) != 0x80) return kInvalid;
    code = code << 6 | (next & 0x3F);
  }
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  return code < kLeast[length] || code > 0x10FFFF || surrogate ? kInvalid : Decoded{code, length};
}

/// The letter after the backslash, or 0.
char short_escape(unsigned code) {
  switch (code) {
    case '"':
      return '"';
    case '\\':
      return '\\';
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const auto [code, length] = decode(text);
    text.remove_prefix(length);
    if (const char escape = short_escape(code)) {
      out.append(1, '\\').append(1, escape);
    } else if (code < 0x20 || code >= 0x7F) {
      append_code_point(out, code);
    } else {
      out += static_cast<char>(code);
    }
  }
  out += '"';
}

void JsonWriter::new_line() { out_->append("\n").append(size_t{4} * depth_, ' '); }

void JsonWriter::start_element() {
  if (place_ == Place::kNext) *out_ += ',';
  if (place_ == Place::kFirst || place_ == Place::kNext) new_line();
  place_ = Place::kNext;
}

void JsonWriter::begin(char bracket) {
  start_element();
  *out_ += bracket;
  ++depth_;
  place_ = Place::kFirst;
}

void JsonWriter::end(char bracket) {
  --depth_;
  new_line();
  *out_ += bracket;
  place_ = Place::kNext;
}

void JsonWriter::key(std::string_view name) {
  start_element();
  append_json_string(*out_, name);
  *out_ += ": ";
  place_ = Place::kAfterKey;
}

void JsonWriter::word(std::string_view text) {
  start_element();
  *out_ += text;
}

void JsonWriter::value(std::string_view text) {
  start_element();
  append_json_string(*out_, text);
}

void JsonWriter::value(const InfoValue& tree) {
  std::visit(
      [this](const auto& held) {
        using T = std::remove_cvref_t<decltype(held)>;
        if constexpr (std::same_as<T, InfoValue::List>) {
          begin_array();
          for (const InfoValue& element : held) value(element);
          end_array();
        } else {
          value(held);
        }
      },
      tree.value());
}

void JsonWriter::value(const InfoValue::Object& members) {
  begin_object();
  for (const auto& [name, of] : members) member(name, of);
  end_object();
}

}  // namespace ashlar::tools
