// Errors: how their text is put together, and how codes and errno values relate.
#include "ashlar/error.h"

#include <cerrno>
#include <cstring>

namespace ashlar {
namespace {

ErrorCode code_of(int os_error) {
  switch (os_error) {
    case ENOENT:
    case ENOTDIR:
    case ENXIO:
    case ENODEV:
      return ErrorCode::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return ErrorCode::kExists;
    case EACCES:
    case EPERM:
      return ErrorCode::kPermission;
    case EROFS:
      return ErrorCode::kReadOnly;
    case ENOMEDIUM:
      return ErrorCode::kNoMedium;
    case ENOSPC:
    case EDQUOT:
      return ErrorCode::kNoSpace;
    case EINVAL:
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
      return ErrorCode::kInvalidArgument;
    case ERANGE:
      return ErrorCode::kOutOfRange;
    case EOPNOTSUPP:
    case ENOSYS:
    case ENOTTY:
      return ErrorCode::kUnsupported;
    case EBUSY:
    case ETXTBSY:
    case EAGAIN:
      return ErrorCode::kBusy;
    case ESHUTDOWN:
    case EBADF:
      return ErrorCode::kClosed;
    case EFBIG:
    case EOVERFLOW:
    case E2BIG:
      return ErrorCode::kTooLarge;
    case ENOMEM:
      return ErrorCode::kNoMemory;
    case ECANCELED:
      return ErrorCode::kCancelled;
    default:
      return ErrorCode::kIo;
  }
}

int nearest_os_error(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kWrongFormat:
      return EINVAL;
    case ErrorCode::kNotFound:
      return ENOENT;
    case ErrorCode::kExists:
      return EEXIST;
    case ErrorCode::kPermission:
      return EACCES;
    case ErrorCode::kReadOnly:
      return EROFS;
    case ErrorCode::kNoMedium:
      return ENOMEDIUM;
    case ErrorCode::kNoSpace:
      return ENOSPC;
    case ErrorCode::kOutOfRange:  // what a block device answers past its end
    case ErrorCode::kIo:
    case ErrorCode::kCorrupt:
      return EIO;
    case ErrorCode::kUnsupported:
      return ENOTSUP;
    case ErrorCode::kBusy:
      return EBUSY;
    case ErrorCode::kLocked:
      return EAGAIN;
    case ErrorCode::kClosed:
      return ESHUTDOWN;
    case ErrorCode::kTooLarge:
      return EFBIG;
    case ErrorCode::kNoMemory:
      return ENOMEM;
    case ErrorCode::kCancelled:
      return ECANCELED;
  }
  return EIO;
}

/// The system's text in our style: no capital at the start.
std::string describe(int os_error) {
  const char* known = strerrordesc_np(os_error);
  if (known == nullptr) return "error number " + std::to_string(os_error);
  std::string text = known;
  const bool starts_with_a_word = text.size() > 1 && text[1] >= 'a' && text[1] <= 'z';
  if (starts_with_a_word && text[0] >= 'A' && text[0] <= 'Z') {
    text[0] = static_cast<char>(text[0] - 'A' + 'a');
  }
  return text;
}

}  // namespace

Error::Error(ErrorCode code, std::string message) {
  auto detail = std::make_shared<Detail>();
  detail->code = code;
  detail->message = std::move(message);
  detail_ = std::move(detail);
}

Error Error::from_errno(int os_error, std::string_view doing) {
  auto detail = std::make_shared<Detail>();
  detail->code = code_of(os_error);
  detail->os_error = os_error;
  if (!doing.empty()) detail->message.append(doing).append(": ");
  detail->message += describe(os_error);
  return Error(std::move(detail));
}

Error Error::within(std::string_view doing, std::string_view what) const {
  auto detail = std::make_shared<Detail>(*detail_);
  std::string message(doing);
  if (!what.empty()) message.append(" \"").append(what).append("\"");
  message.append(": ").append(detail_->message);
  detail->message = std::move(message);
  return Error(std::move(detail));
}

Error Error::because(std::string_view reason, std::initializer_list<std::string> values) const {
  auto detail = std::make_shared<Detail>(*detail_);
  auto copies = std::make_shared<std::string[]>(values.size());
  size_t index = 0;
  for (const std::string& value : values) copies[index++] = value;
  if (!detail_->reason.empty()) detail->cause = detail_;
  detail->reason = reason;
  detail->values = std::move(copies);
  detail->value_count = values.size();
  return Error(std::move(detail));
}

std::optional<Error> Error::cause() const {
  if (!detail_->cause) return std::nullopt;
  return Error(detail_->cause);
}

int Error::os_error() const noexcept {
  return detail_->os_error != 0 ? detail_->os_error : nearest_os_error(detail_->code);
}

}  // namespace ashlar
