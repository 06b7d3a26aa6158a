// Sizes to text and back, in the forms that scripts around the peer's tools match.
#include "tools/common/size_text.h"

#include <fmt/format.h>

#include <array>

#include "ashlar/bytes.h"
#include "ashlar/options.h"

namespace ashlar::tools {
namespace {

constexpr std::array<std::string_view, 7> kPrefixes{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

/// The number of times `bytes` can be divided by 1024 and stay at `least` or more.
unsigned magnitude(uint64_t bytes, uint64_t least) {
  unsigned power = 0;
  while (power + 1 < kPrefixes.size() && (bytes >> (10 * power)) >= least) ++power;
  return power;
}

}  // namespace

std::string human_size(uint64_t bytes) {
  const unsigned power = magnitude(bytes, 1000);
  const double scaled =
      static_cast<double>(bytes) / static_cast<double>(uint64_t{1} << (10 * power));
  return fmt::format("{:.3g} {}B", scaled, kPrefixes[power]);
}

std::string size_with_bytes(uint64_t bytes) {
  return fmt::format("{} ({} bytes)", human_size(bytes), bytes);
}

std::string io_size(uint64_t bytes) {
  const unsigned power = magnitude(bytes, 1024);
  if (power == 0) return fmt::format("{} bytes", bytes);
  const double scaled =
      static_cast<double>(bytes) / static_cast<double>(uint64_t{1} << (10 * power));
  std::string number = fmt::format("{:.3f}", scaled);
  if (number.ends_with(".000")) number.resize(number.size() - 4);
  return fmt::format("{} {}B", number, kPrefixes[power]);
}

std::optional<uint64_t> size_argument(const Program& program, std::string_view what,
                                      std::string_view text) {
  const Result<uint64_t> size = parse_size(text);
  if (size && *size <= kMaxDeviceSize) return *size;
  const bool out_of_range = size || size.error().reason() == "size-range" || text.starts_with('-');
  program.error(out_of_range ? fmt::format("Invalid {} specified. Must be between 0 and {}.", what,
                                           kMaxDeviceSize)
                             : fmt::format("Invalid {} specified: '{}'", what, text));
  return std::nullopt;
}

std::optional<uint64_t> count_argument(const Program& program, std::string_view what,
                                       std::string_view text, CountRange range) {
  const Result<uint64_t> count = parse_number(text);
  if (count && *count >= range.least && *count <= range.most) return *count;
  program.error(count ? fmt::format("Invalid {} specified. Must be between {} and {}.", what,
                                    range.least, range.most)
                      : fmt::format("Invalid {} specified: '{}'", what, text));
  return std::nullopt;
}

}  // namespace ashlar::tools
