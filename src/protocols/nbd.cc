// Errors of the NBD protocol and ours.
#include "protocols/nbd.h"

#include <fmt/format.h>

#include <cerrno>

namespace ashlar::nbd {
namespace {

ErrorCode code_of(WireError error) {
  switch (error) {
    case WireError::kPermission:
      return ErrorCode::kPermission;
    case WireError::kNoMemory:
      return ErrorCode::kNoMemory;
    case WireError::kInvalid:
      return ErrorCode::kInvalidArgument;
    case WireError::kNoSpace:
      return ErrorCode::kNoSpace;
    case WireError::kOverflow:
      return ErrorCode::kTooLarge;
    case WireError::kUnsupported:
      return ErrorCode::kUnsupported;
    case WireError::kShutdown:
      return ErrorCode::kClosed;
    case WireError::kNone:
    case WireError::kIo:
      return ErrorCode::kIo;
  }
  return ErrorCode::kIo;
}

std::string_view words_for(ErrorCode code) {
  switch (code) {
    case ErrorCode::kPermission:
      return "operation not permitted";
    case ErrorCode::kNoMemory:
      return "out of memory";
    case ErrorCode::kInvalidArgument:
      return "invalid argument";
    case ErrorCode::kNoSpace:
      return "no space left on device";
    case ErrorCode::kTooLarge:
      return "value too large";
    case ErrorCode::kUnsupported:
      return "operation not supported";
    case ErrorCode::kClosed:
      return "server is shutting down";
    default:
      return "input/output error";
  }
}

}  // namespace

WireError to_wire(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kPermission:
    case ErrorCode::kReadOnly:
      return WireError::kPermission;
    case ErrorCode::kNoMemory:
      return WireError::kNoMemory;
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kOutOfRange:
      return WireError::kInvalid;
    case ErrorCode::kNoSpace:
      return WireError::kNoSpace;
    case ErrorCode::kTooLarge:
      return error.os_error() == EOVERFLOW ? WireError::kOverflow : WireError::kNoSpace;
    case ErrorCode::kUnsupported:
      return WireError::kUnsupported;
    case ErrorCode::kClosed:
    case ErrorCode::kCancelled:
      return WireError::kShutdown;
    default:
      return WireError::kIo;
  }
}

Error from_wire(WireError error, std::string_view doing, std::string_view message) {
  const ErrorCode code = code_of(error);
  const auto number = static_cast<uint32_t>(error);
  std::string text =
      fmt::format("{}: server answered with error {}, {}", doing, number, words_for(code));
  if (!message.empty()) text += fmt::format(": \"{}\"", message);
  return Error(code, std::move(text))
      .because("nbd-server-error", {std::to_string(number), std::string(message)});
}

}  // namespace ashlar::nbd
