// Fuzzes the reading of options. The oracle is exact: what was read, written out and read again,
// is the same. The first byte of the input chooses the way of writing.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "ashlar/options.h"

namespace {

using ashlar::OptionDict;
using ashlar::OptionValue;
using ashlar::Result;

void require(bool holds) {
  if (!holds) std::abort();
}

std::map<std::string, OptionValue> contents(const OptionDict& dict) {
  std::map<std::string, OptionValue> map(dict.entries().begin(), dict.entries().end());
  require(map.size() == dict.entries().size());
  return map;
}

/// Order may change, as a name brings the members of an object together; a second time it may not.
void check_json_round_trip(const OptionDict& dict) {
  const std::string name = dict.to_json_name();
  require(name.starts_with("json:{"));
  const std::string text = name.substr(5);
  if (text.size() > OptionDict::kMaxTextLength)
    return;  // escapes are longer than what they are for
  const Result<OptionDict> again = OptionDict::parse_json(text);
  require(again.has_value());
  require(contents(dict) == contents(*again));
  require(again->to_json_name() == name);
}

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

std::string key_value_text(const OptionDict& dict) {
  std::string text;
  for (const auto& [key, value] : dict.entries()) {
    text += (text.empty() ? "" : ",") + key + "=";
    const std::string typed = dict.text(key).value();
    for (const char c : typed) text += c == ',' ? std::string(",,") : std::string(1, c);
  }
  return text;
}

void check_key_value(std::string_view text) {
  const Result<OptionDict> dict = OptionDict::parse_key_value(text);
  if (!dict) return;
  const std::string written = key_value_text(*dict);
  if (written.size() <= OptionDict::kMaxTextLength) {
    const Result<OptionDict> again = OptionDict::parse_key_value(written);
    require(again.has_value());
    require(contents(*dict) == contents(*again));
    require(key_value_text(*again) == written);
  }
  if (is_ascii(text)) check_json_round_trip(*dict);  // other bytes need not be UTF-8
}

void check_numbers(std::string_view text) {
  if (const Result<uint64_t> size = ashlar::parse_size(text)) {
    require(ashlar::parse_size(std::to_string(*size)) == *size);
    require(ashlar::parse_size(" +" + std::to_string(*size) + ".0") == *size);
  }
  if (const Result<uint64_t> number = ashlar::parse_number(text)) {
    require(ashlar::parse_number(std::to_string(*number)) == *number);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(data + 1, data + size);
  switch (data[0] % 4) {
    case 0:
      check_key_value(text);
      break;
    case 1:
      check_numbers(text);
      break;
    default:
      if (const Result<OptionDict> dict = OptionDict::parse_json(text))
        check_json_round_trip(*dict);
  }
  return 0;
}
