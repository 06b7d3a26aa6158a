// Errors as values: a code for programs, text parts for people, a stable reason for translators.
#pragma once

#include <cstdint>
#include <expected>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ashlar {

/// What kind of thing went wrong. Small on purpose: programs branch on it.
enum class ErrorCode : uint8_t {
  kInvalidArgument,  ///< the caller asked for something that cannot be
  kNotFound,
  kExists,
  kPermission,
  kReadOnly,
  kOutOfRange,  ///< past the end of a device or a table
  kNoMedium,
  kNoSpace,
  kIo,
  kCorrupt,      ///< an image contradicts its format
  kWrongFormat,  ///< the bytes are not an image of the asked format
  kUnsupported,
  kBusy,
  kLocked,  ///< another process holds a conflicting lock
  kClosed,
  kTooLarge,
  kNoMemory,
  kCancelled,
};

/// An error: code, text, and optionally a reason.
/// Cheap to copy and to pass through layers; one pointer wide.
class Error {
 public:
  /// `message`: lower case, no full stop, with the value and what was allowed.
  Error(ErrorCode code, std::string message);

  /// From an errno value; `doing` says what was tried.
  static Error from_errno(int os_error, std::string_view doing);

  /// The same error with one part in front: `doing "what": message`.
  [[nodiscard]] Error within(std::string_view doing, std::string_view what = {}) const;

  /// The same error with a stable identifier such as "qcow2-version" and the values that go with
  /// it. Tools translate reasons to the words their users' scripts match. `reason` must be a
  /// literal: it is kept by reference. A reason that was there before moves to cause().
  [[nodiscard]] Error because(std::string_view reason,
                              std::initializer_list<std::string> values = {}) const;

  ErrorCode code() const noexcept { return detail_->code; }
  /// All parts, outermost first, joined by ": ".
  const std::string& message() const noexcept { return detail_->message; }
  /// Identifier set by because(), or empty.
  std::string_view reason() const noexcept { return detail_->reason; }
  std::span<const std::string> values() const noexcept {
    return {detail_->values.get(), detail_->value_count};
  }
  /// The error as it was before the last because() that gave it another reason, if any.
  std::optional<Error> cause() const;
  /// The errno that caused it, or the nearest one to code().
  int os_error() const noexcept;

 private:
  struct Detail {
    ErrorCode code;
    int os_error = 0;
    std::string message;
    std::string_view reason;
    std::shared_ptr<const std::string[]> values;
    size_t value_count = 0;
    std::shared_ptr<const Detail> cause;
  };
  explicit Error(std::shared_ptr<const Detail> detail) : detail_(std::move(detail)) {}

  std::shared_ptr<const Detail> detail_;
};

template <typename T>
using Result = std::expected<T, Error>;

/// The successful Result<void>.
inline Result<void> ok() { return {}; }

/// Shorthand for a failed Result<T> of any T.
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }
inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected<Error>(Error(code, std::move(message)));
}

}  // namespace ashlar
