// Doing things to a device and to its model.
#include "testing/conformance_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace ashlar::conformance {

std::string describe(ByteRange range) {
  return fmt::format("{} bytes at {:#x}", range.length, range.offset);
}

Bench::Bench(const ConformanceSubject& subject, std::string name)
    : subject_(subject),
      name_(std::move(name)),
      options_(subject.make(kSize)),
      device_(subject.runtime, subject.throttle_groups),
      model_(kSize) {
  expect_success(device_.open(options_, subject.flags), "open");
}

void Bench::report(const std::string& what) {
  constexpr size_t kEnough = 2000;  // one fault shows up many times
  if (failures_.size() < kEnough) failures_ += name_ + ": " + what + "\n";
}

void Bench::expect_success(const Result<void>& result, const std::string& what) {
  if (!result) report(what + ": " + result.error().message());
}

void Bench::expect_error(const Result<void>& result, ErrorCode code, const std::string& what) {
  if (result) {
    report(what + " succeeded");
  } else if (result.error().code() != code) {
    report(what + " failed with another code: " + result.error().message());
  }
}

std::vector<std::byte> Bench::random_bytes(uint64_t length) {
  std::vector<std::byte> bytes(length);
  random_.fill(bytes);
  return bytes;
}

void Bench::write(ByteRange range, WriteFlags flags) {
  const std::vector<std::byte> bytes = random_bytes(range.length);
  expect_success(device_.write(range.offset, bytes, flags), "write " + describe(range));
  std::ranges::copy(bytes, model_.begin() + static_cast<ptrdiff_t>(range.offset));
}

void Bench::write_zeroes(ByteRange range, ZeroFlags flags) {
  expect_success(device_.write_zeroes(range, flags), "zero " + describe(range));
  std::fill_n(model_.begin() + static_cast<ptrdiff_t>(range.offset), range.length, std::byte{0});
}

void Bench::check(ByteRange range) {
  const Result<std::vector<std::byte>> bytes = device_.read(range);
  if (!bytes) {
    report("read " + describe(range) + ": " + bytes.error().message());
    return;
  }
  if (!keeps_data()) return;
  const auto expected = model_.begin() + static_cast<ptrdiff_t>(range.offset);
  if (range.empty() || std::memcmp(bytes->data(), &*expected, range.length) == 0) return;
  const auto wrong = std::mismatch(bytes->begin(), bytes->end(), expected);
  report(fmt::format("read {}: {:#04x} instead of {:#04x} at {:#x}", describe(range),
                     std::to_integer<unsigned>(*wrong.first),
                     std::to_integer<unsigned>(*wrong.second),
                     range.offset + static_cast<uint64_t>(wrong.first - bytes->begin())));
}

void Bench::check_all() { check({0, size()}); }

ByteRange Bench::random_range(uint64_t longest) {
  constexpr uint64_t kUnits[] = {1, 1, 512, 4096, 65536};
  const uint64_t unit = kUnits[random_.below(std::size(kUnits))];
  const uint64_t offset = align_down(random_.below(size()), unit);
  const uint64_t most = std::min(longest, size() - offset);
  const uint64_t length = align_up(random_.between(1, most), unit);
  return {offset, std::min(length, size() - offset)};
}

void Bench::reopen(OpenFlags flags) {
  expect_success(device_.close_medium(), "close");
  expect_success(device_.open(options_, flags), "open again");
}

}  // namespace ashlar::conformance
