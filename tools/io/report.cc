// Lines and rates of finished requests.
#include "tools/io/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tools/common/size_text.h"

namespace ashlar::tools::io {
namespace {

/// "1.427 GiB", "0.228 bytes" and whole numbers without a fraction.
std::string rate_text(double bytes) {
  constexpr std::array<std::string_view, 7> kUnits{"bytes", "KiB", "MiB", "GiB",
                                                   "TiB",   "PiB", "EiB"};
  size_t unit = 0;
  while (unit + 1 < kUnits.size() && bytes >= 1024) {
    bytes /= 1024;
    ++unit;
  }
  std::string number = unit == 0 ? fmt::format("{:.6f}", bytes) : fmt::format("{:.3f}", bytes);
  const size_t fraction = number.find('.');
  if (number.find_first_not_of('0', fraction + 1) == std::string::npos) number.resize(fraction);
  return fmt::format("{} {}", number, kUnits[unit]);
}

struct ClockTime {
  uint64_t hours, minutes, seconds, hundredths;
};

ClockTime clock_time(std::chrono::nanoseconds elapsed) {
  const auto hundredths = static_cast<uint64_t>(elapsed.count()) / 10'000'000;
  const uint64_t seconds = hundredths / 100;
  return {seconds / 3600, seconds / 60 % 60, seconds % 60, hundredths % 100};
}

/// Events per second; a request too short for the clock counts as a nanosecond.
double per_second(uint64_t count, std::chrono::nanoseconds elapsed) {
  const auto ns = std::max<int64_t>(elapsed.count(), 1);
  return static_cast<double>(count) * 1e9 / static_cast<double>(ns);
}

}  // namespace

std::string human_report(const RequestReport& report) {
  const ClockTime time = clock_time(report.elapsed);
  const std::string took = time.hours != 0 || time.minutes != 0
                               ? fmt::format("{}:{:02}:{:02}.{:02}", time.hours, time.minutes,
                                             time.seconds, time.hundredths)
                               : fmt::format("{:02}.{:02} sec", time.seconds, time.hundredths);
  return fmt::format("{} {}/{} bytes at offset {}\n{}, 1 ops; {} ({}/sec and {:.4f} ops/sec)\n",
                     report.verb, report.bytes, report.bytes, report.offset, io_size(report.bytes),
                     took, rate_text(per_second(report.bytes, report.elapsed)),
                     per_second(1, report.elapsed));
}

std::string machine_report(const RequestReport& report) {
  const ClockTime time = clock_time(report.elapsed);
  return fmt::format("{},1,{}:{:02}:{:02}.{:02},{:.3f},{:.3f}\n", report.bytes, time.hours,
                     time.minutes, time.seconds, time.hundredths,
                     per_second(report.bytes, report.elapsed), per_second(1, report.elapsed));
}

std::string dump(std::span<const std::byte> bytes, uint64_t offset) {
  constexpr size_t kPerLine = 16;
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += kPerLine) {
    const auto line = bytes.subspan(at, std::min(kPerLine, bytes.size() - at));
    fmt::format_to(std::back_inserter(text), "{:08x}:  ", offset + at);
    for (const std::byte byte : line) {
      fmt::format_to(std::back_inserter(text), "{:02x} ", static_cast<unsigned>(byte));
    }
    text += ' ';
    for (const std::byte byte : line) {
      const auto c = static_cast<unsigned char>(byte);
      const bool shown = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
      text += shown ? static_cast<char>(c) : '.';
    }
    text += '\n';
  }
  return text;
}

bool all_bytes_are(std::span<const std::byte> bytes, std::byte pattern) {
  if (bytes.empty()) return true;
  // Equal to itself one byte on: memcmp goes through it at memory speed.
  return bytes[0] == pattern && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace ashlar::tools::io
