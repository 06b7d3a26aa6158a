// Sizes and counts as people type them: "64k", "1.5G", "0x1000".
#include <charconv>
#include <cmath>
#include <limits>
#include <string>

#include "ashlar/options.h"

namespace ashlar {
namespace {

constexpr uint64_t kLargest = std::numeric_limits<uint64_t>::max();

std::unexpected<Error> syntax_error(std::string_view text) {
  return fail(Error(ErrorCode::kInvalidArgument,
                    "\"" + std::string(text) + "\" is not a size such as 4096, 64k or 1.5G")
                  .because("size-syntax", {std::string(text)}));
}
std::unexpected<Error> range_error(std::string_view text) {
  return fail(
      Error(ErrorCode::kInvalidArgument, "\"" + std::string(text) + "\" is not below 2^64 bytes")
          .because("size-range", {std::string(text)}));
}
std::unexpected<Error> number_error(std::string_view text) {
  return fail(Error(ErrorCode::kInvalidArgument,
                    "\"" + std::string(text) + "\" is not a number from 0 to 2^64 - 1")
                  .because("number-syntax", {std::string(text)}));
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Leading blanks and one plus sign mean nothing.
std::string_view skip_lead(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n\v\f\r");
  text.remove_prefix(first == std::string_view::npos ? text.size() : first);
  if (text.starts_with('+')) text.remove_prefix(1);
  return text;
}

/// The shift a suffix letter stands for; empty: no such suffix.
std::optional<unsigned> suffix_shift(char letter) {
  constexpr std::string_view kLetters = "bkmgtpe";
  const char lower =
      letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  const size_t power = kLetters.find(lower);
  if (power == std::string_view::npos) return std::nullopt;
  return static_cast<unsigned>(power) * 10;
}

enum class Scan : uint8_t { kNone, kNumber, kOverflow };

/// Takes the digits at the start of `text`.
Scan scan_digits(std::string_view& text, int base, uint64_t& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (code == std::errc::invalid_argument) return Scan::kNone;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return code == std::errc() ? Scan::kNumber : Scan::kOverflow;
}

/// Takes ".digits" at the start of `text`, if that is there; the fraction is below 1, or rounds up
/// to it.
double scan_fraction(std::string_view& text) {
  if (!text.starts_with('.')) return 0;
  size_t end = 1;
  while (end < text.size() && is_digit(text[end])) ++end;
  double fraction = 0;
  if (end > 1) {
    const std::string digits = "0" + std::string(text.substr(0, end));
    // Too small for a double means zero, which is what `fraction` then stays.
    std::from_chars(digits.data(), digits.data() + digits.size(), fraction);
  }
  text.remove_prefix(end);
  return fraction;
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  std::string_view rest = skip_lead(text);
  const bool hex = rest.size() > 2 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X');
  if (hex) rest.remove_prefix(2);
  uint64_t whole = 0;
  const Scan scanned = scan_digits(rest, hex ? 16 : 10, whole);
  if (scanned == Scan::kNone) return syntax_error(text);
  const double fraction = hex ? 0 : scan_fraction(rest);

  unsigned shift = 0;
  if (!rest.empty()) {
    // "0x1b" is 27, and so a suffix of a hexadecimal number is never b or e: those are digits.
    const std::optional<unsigned> suffix = suffix_shift(rest.front());
    if (!suffix || rest.size() != 1) return syntax_error(text);
    shift = *suffix;
  }
  if (shift == 0 && fraction >= 0x1p-64) return syntax_error(text);  // part of a byte
  if (scanned == Scan::kOverflow || whole > kLargest >> shift) return range_error(text);

  const uint64_t bytes = whole << shift;
  const auto part =
      static_cast<uint64_t>(std::floor(std::ldexp(fraction, static_cast<int>(shift)) + 0.5));
  if (shift == 0 || part <= kLargest - bytes) return bytes + (shift == 0 ? 0 : part);
  return range_error(text);
}

Result<uint64_t> parse_number(std::string_view text) {
  std::string_view rest = skip_lead(text);
  int base = 10;
  if (rest.size() > 2 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X')) {
    base = 16;
    rest.remove_prefix(2);
  } else if (rest.size() > 1 && rest[0] == '0') {
    base = 8;
  }
  uint64_t value = 0;
  if (scan_digits(rest, base, value) != Scan::kNumber || !rest.empty()) return number_error(text);
  return value;
}

}  // namespace ashlar
