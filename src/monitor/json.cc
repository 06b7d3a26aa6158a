// Reading and writing of the JSON that monitors exchange with their clients.
#include "monitor/json.h"

#include <fmt/format.h>

#include <set>
#include <vector>

namespace ashlar::monitor {
namespace {

std::string scalar(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace);
}

void append_line(std::string& out, const Json& value) {
  if (!value.is_structured()) {
    out += scalar(value);
    return;
  }
  const bool object = value.is_object();
  out += object ? '{' : '[';
  std::string_view separator;
  for (const auto& [name, member] : value.items()) {
    out += std::exchange(separator, ", ");
    if (object) out.append(scalar(name)).append(": ");
    append_line(out, member);
  }
  out += object ? '}' : ']';
}

/// Notes member names level by level: a name that is there twice is an error.
class NameCheck {
 public:
  bool operator()(int, JsonInput::parse_event_t event, JsonInput& parsed) {
    using Event = JsonInput::parse_event_t;
    if (event == Event::object_start) levels_.emplace_back();
    if (event == Event::object_end) levels_.pop_back();
    if (event == Event::key && !levels_.back().insert(parsed.get<std::string>()).second) {
      if (twice_.empty()) twice_ = parsed.get<std::string>();
    }
    return true;
  }
  const std::string& twice() const { return twice_; }

 private:
  std::vector<std::set<std::string>> levels_;
  std::string twice_;
};

}  // namespace

std::string to_line(const Json& value) {
  std::string out;
  append_line(out, value);
  return out;
}

std::string to_pretty_text(const Json& value) {
  return value.dump(4, ' ', true, Json::error_handler_t::replace);
}

std::expected<JsonInput, std::string> parse_json(std::string_view text) {
  NameCheck names;
  try {
    JsonInput value = JsonInput::parse(text, std::ref(names));
    if (!names.twice().empty()) {
      return std::unexpected(fmt::format("JSON parse error, duplicate key '{}'", names.twice()));
    }
    return value;
  } catch (const JsonInput::parse_error& wrong) {
    return std::unexpected(fmt::format("JSON parse error, invalid text at byte {}", wrong.byte));
  } catch (const JsonInput::exception&) {
    return std::unexpected(std::string("JSON parse error, number out of range"));
  }
}

}  // namespace ashlar::monitor
