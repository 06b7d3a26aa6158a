// Taking numbers and strings out of a message of the NBD protocol, and putting them in.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "ashlar/error.h"
#include "base/endian.h"
#include "protocols/nbd.h"

namespace ashlar::nbd::wire {

inline std::unexpected<Error> malformed(std::string what) {
  return fail(Error(ErrorCode::kCorrupt, std::move(what)).because("nbd-malformed"));
}

/// Takes from the front. What is not there is noticed once, at the end.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}

  template <std::unsigned_integral T>
  T number() {
    const std::span<const std::byte> from = take(sizeof(T));
    return from.empty() ? T{0} : load_be<T>(from.data());
  }
  /// Of an enumeration; any number may come.
  template <typename Enum>
  Enum value() {
    // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): later versions add values
    return static_cast<Enum>(number<std::underlying_type_t<Enum>>());
  }
  std::string string(size_t length) {
    if (length > kMaxString) complete_ = false;
    const std::span<const std::byte> from = take(length);
    return {reinterpret_cast<const char*>(from.data()), from.size()};
  }
  /// A string behind its own 32-bit length.
  std::string counted_string() { return string(number<uint32_t>()); }

  size_t left() const { return left_.size(); }
  /// Everything that was asked for was there.
  bool complete() const { return complete_; }
  /// That, and nothing more.
  bool exact() const { return complete_ && left_.empty(); }

 private:
  std::span<const std::byte> take(size_t count) {
    if (!complete_ || count > left_.size()) {
      complete_ = false;
      return {};
    }
    const std::span<const std::byte> taken = left_.first(count);
    left_ = left_.subspan(count);
    return taken;
  }

  std::span<const std::byte> left_;
  bool complete_ = true;
};

class Writer {
 public:
  template <std::unsigned_integral T>
  Writer& number(T value) {
    bytes_.resize(bytes_.size() + sizeof value);
    store_be(bytes_.data() + bytes_.size() - sizeof value, value);
    return *this;
  }
  Writer& string(std::string_view text) {
    return raw(std::as_bytes(std::span(text.data(), text.size())));
  }
  Writer& counted_string(std::string_view text) {
    return number(static_cast<uint32_t>(text.size())).string(text);
  }
  Writer& raw(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Writer& zeroes(size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace ashlar::nbd::wire
