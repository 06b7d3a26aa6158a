// The lexer that finds where JSON texts end.
#include "monitor/json_framer.h"

#include <fmt/format.h>

#include <utility>

namespace ashlar::monitor {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool is_bracket(char c) { return c == '{' || c == '}' || c == '[' || c == ']'; }

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '+' || c == '.' || c == '_';
}

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f || byte == 0xff;
}

bool is_known_word(std::string_view word) {
  const char first = word.front();
  if (first == '-' || (first >= '0' && first <= '9')) return true;
  return word == "true" || word == "false" || word == "null";
}

}  // namespace

void JsonFramer::feed(std::string_view bytes) {
  for (const char c : bytes) take(c);
}

std::optional<JsonFramer::Frame> JsonFramer::next() {
  if (frames_.empty()) return std::nullopt;
  Frame frame = std::move(frames_.front());
  frames_.pop_front();
  return frame;
}

void JsonFramer::take(char c) {
  if (place_ == Place::kSkipping) {
    if (c == '\n' || (is_control(c) && !is_blank(c))) place_ = Place::kPlain;
    return;
  }
  if (place_ == Place::kRecovering) {
    if (!is_blank(c) && !is_bracket(c)) return;
    place_ = Place::kPlain;
  }
  if (place_ == Place::kString) {
    take_in_string(c);
  } else {
    take_plain(c);
  }
}

void JsonFramer::take_plain(char c) {
  if (is_word(c)) {
    word_ += c;
    if (text_.size() + word_.size() > limits_.text) {
      fail("JSON token size limit exceeded", Place::kSkipping);
    }
    return;
  }
  end_word();
  if (place_ != Place::kPlain) return take(c);  // the word was one too many
  if (is_blank(c)) return;
  if (c == '{' || c == '[') {
    open(c);
  } else if (c == '}' || c == ']') {
    close(c);
  } else if (c == '"' || c == '\'') {
    if (!count_token()) return;
    quote_ = c;
    string_start_ = text_.size();
    place_ = Place::kString;
    append('"');
  } else if (c != ',' && c != ':') {
    fail(fmt::format("JSON parse error, stray '{}'", c), Place::kRecovering);
  } else if (brackets_.empty()) {
    fail("JSON parse error, expecting value", Place::kPlain);
  } else if (count_token()) {
    append(c);
  }
}

void JsonFramer::take_in_string(char c) {
  if (is_control(c) && c != 0x7f) {
    const std::string begun = text_.substr(string_start_, 64);
    fail(fmt::format("JSON parse error, stray '{}'", begun), Place::kPlain);
  } else if (escaped_) {
    escaped_ = false;
    if (c != '\'') append('\\');
    append(c);
  } else if (c == '\\') {
    escaped_ = true;
  } else if (c == quote_) {
    append('"');
    if (place_ != Place::kString) return;  // the limit was reached
    place_ = Place::kPlain;
    if (brackets_.empty()) finish();
  } else {
    if (c == '"') append('\\');
    append(c);
  }
}

void JsonFramer::open(char bracket) {
  if (brackets_.size() == limits_.depth) {
    return fail("JSON nesting depth limit exceeded", Place::kSkipping);
  }
  if (!count_token()) return;
  brackets_.push_back(bracket);
  append(bracket);
}

void JsonFramer::close(char bracket) {
  const char opened = bracket == '}' ? '{' : '[';
  if (brackets_.empty() || brackets_.back() != opened) {
    return fail("JSON parse error, expecting value", Place::kPlain);
  }
  brackets_.pop_back();
  append(bracket);
  if (brackets_.empty() && place_ == Place::kPlain) finish();
}

void JsonFramer::end_word() {
  if (word_.empty()) return;
  if (!is_known_word(word_) && problem_.empty()) {
    problem_ = fmt::format("JSON parse error, invalid keyword '{}'", word_.substr(0, 64));
  }
  if (!count_token()) return;
  text_ += std::exchange(word_, {});
  if (brackets_.empty()) finish();
}

void JsonFramer::append(char c) {
  if (text_.size() >= limits_.text) {
    return fail("JSON token size limit exceeded", Place::kSkipping);
  }
  text_ += c;
}

bool JsonFramer::count_token() {
  if (++tokens_ <= limits_.tokens) return true;
  fail("JSON token count limit exceeded", Place::kSkipping);
  return false;
}

void JsonFramer::finish() {
  frames_.push_back({problem_.empty() ? std::move(text_) : std::string(), std::move(problem_)});
  clear();
}

void JsonFramer::fail(std::string problem, Place next) {
  frames_.push_back({{}, std::move(problem)});
  clear();
  place_ = next;
}

void JsonFramer::clear() {
  place_ = Place::kPlain;
  text_ = {};
  word_.clear();
  problem_ = {};
  brackets_.clear();
  tokens_ = 0;
  escaped_ = false;
}

}  // namespace ashlar::monitor
