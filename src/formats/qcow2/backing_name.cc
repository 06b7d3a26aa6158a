// The name of the backing image in the header.
#include "formats/qcow2/describe.h"
#include "formats/qcow2/image.h"

namespace ashlar::qcow2 {

Task<Result<void>> Image::set_backing_name(std::string name, std::string format) {
  if (Result<void> writable = check_writable(); !writable) co_return writable;
  Mutex::Guard guard = co_await metadata_.lock();
  const Header before = header_;
  header_.backing_file = std::move(name);
  header_.backing_format.reset();
  if (!header_.backing_file.empty() && !format.empty()) header_.backing_format = std::move(format);
  const Result<void> written = co_await write_header();
  if (!written) {
    header_ = before;
    co_return fail(written.error().within("change the name of the backing image"));
  }
  guard.unlock();
  auto described = co_await read_description(header_, file_, Purpose::kWrite);
  if (!described) co_return fail(described.error());
  description_ = std::move(*described);
  co_return ok();
}

}  // namespace ashlar::qcow2
