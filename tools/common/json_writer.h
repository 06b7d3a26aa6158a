// JSON text: ordered, four blanks of indentation, everything but ASCII escaped.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "ashlar/image_info.h"

namespace ashlar::tools {

/// Appends `text` as a quoted JSON string.
void append_json_string(std::string& out, std::string_view text);

/// Writes one document. The caller begins and ends what it opens.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(&out) {}

  void begin_object() { begin('{'); }
  void end_object() { end('}'); }
  void begin_array() { begin('['); }
  void end_array() { end(']'); }
  void key(std::string_view name);

  void value(std::string_view text);
  void value(const std::string& text) { value(std::string_view(text)); }
  void value(const char* text) { value(std::string_view(text)); }
  void value(std::integral auto number) {
    if constexpr (std::same_as<decltype(number), bool>) {
      word(number ? "true" : "false");
    } else {
      word(std::to_string(number));
    }
  }
  void value(const InfoValue& tree);
  void value(const InfoValue::Object& members);

  template <typename T>
  void member(std::string_view name, const T& of) {
    key(name);
    value(of);
  }

 private:
  void begin(char bracket);
  void end(char bracket);
  void word(std::string_view text);
  void start_element();
  void new_line();

  std::string* out_;
  unsigned depth_ = 0;
  enum class Place : uint8_t { kFirst, kNext, kAfterKey, kDocument } place_ = Place::kDocument;
};

}  // namespace ashlar::tools
