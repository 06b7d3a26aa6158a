// Errors whose text is the client's, and the classes in which QMP reports errors.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "ashlar/error.h"

namespace ashlar::monitor {

/// Reasons that stand for a class of their own; all other errors are "GenericError".
inline constexpr std::string_view kCommandNotFound = "monitor-command-not-found";
inline constexpr std::string_view kDeviceNotFound = "monitor-device-not-found";
inline constexpr std::string_view kDeviceNotActive = "monitor-device-not-active";

/// The class of an error towards clients.
inline std::string_view class_of(const Error& error) {
  if (error.reason() == kCommandNotFound) return "CommandNotFound";
  if (error.reason() == kDeviceNotFound) return "DeviceNotFound";
  if (error.reason() == kDeviceNotActive) return "DeviceNotActive";
  return "GenericError";
}

/// Refuses a command in words that are told as they are.
inline std::unexpected<Error> refuse(std::string text,
                                     ErrorCode code = ErrorCode::kInvalidArgument) {
  return fail(Error(code, std::move(text)).because("monitor"));
}

inline std::unexpected<Error> device_not_found(const std::string& name) {
  return fail(
      Error(ErrorCode::kNotFound, "Device '" + name + "' not found").because(kDeviceNotFound));
}

}  // namespace ashlar::monitor
