// What the shell prints of requests: a line of what was done, a line of rates, a dump.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ashlar::tools::io {

/// One finished request.
struct RequestReport {
  std::string_view verb;  ///< "read", "wrote", "discard"
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::chrono::nanoseconds elapsed{0};
};

/// Two lines for people.
std::string human_report(const RequestReport& report);
/// One line of comma-separated values: bytes, requests, time, bytes/s, requests/s.
std::string machine_report(const RequestReport& report);

/// Sixteen bytes per line, in hex and as letters and digits, counted from `offset`.
std::string dump(std::span<const std::byte> bytes, uint64_t offset);

/// True if every byte is `pattern`.
bool all_bytes_are(std::span<const std::byte> bytes, std::byte pattern);

}  // namespace ashlar::tools::io
