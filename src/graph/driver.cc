// What a driver does that does not say otherwise: nothing it was not built for.
#include "ashlar/driver.h"

#include <fmt/format.h>

namespace ashlar {

namespace {

Error unsupported(const char* what) {
  return Error(ErrorCode::kUnsupported, fmt::format("this driver cannot {}", what))
      .because("driver-unsupported", {what});
}

}  // namespace

std::optional<Result<void>> Driver::read_now(ByteRange, MutableBuffers) noexcept {
  return std::nullopt;
}
std::optional<Result<void>> Driver::write_now(ByteRange, ConstBuffers) noexcept {
  return std::nullopt;
}
Task<Result<void>> Driver::read(ByteRange, MutableBuffers) { co_return fail(unsupported("read")); }
Task<Result<void>> Driver::write(ByteRange, ConstBuffers, WriteFlags) {
  co_return fail(unsupported("write"));
}
Task<Result<void>> Driver::write_zeroes(ByteRange, ZeroFlags) {
  co_return fail(unsupported("zero without writing"));
}
Task<Result<void>> Driver::discard(ByteRange) { co_return fail(unsupported("discard")); }
Task<Result<void>> Child::reserve(ByteRange) { co_return ok(); }
Task<Result<void>> Driver::reserve(ByteRange) { co_return fail(unsupported("reserve")); }
Task<Result<void>> Driver::flush() { co_return ok(); }
Task<Result<void>> Driver::resize(uint64_t, ResizeFlags) { co_return fail(unsupported("resize")); }

Task<Result<Extent>> Driver::status(ByteRange range) {
  Extent data;
  data.length = range.length;
  data.data = true;
  co_return data;
}

Task<Result<CheckReport>> Driver::check(const CheckOptions&) {
  co_return fail(unsupported("check"));
}

Result<void> Driver::apply_permissions(Permissions, Permissions) { return ok(); }

Task<Result<std::unique_ptr<PreparedReopen>>> Driver::prepare_reopen(OptionDict&,
                                                                     const OpenFlags&) {
  co_return fail(unsupported("reopen"));
}
Task<Result<void>> Driver::close() { co_return ok(); }

Task<Result<Allocation>> FormatDriver::allocate(ByteRange) { co_return fail(unsupported("write")); }
Task<Result<void>> FormatDriver::commit(Allocation) { co_return ok(); }
Task<void> FormatDriver::abandon(Allocation) { co_return; }
Task<Result<void>> FormatDriver::settle() { co_return ok(); }
Task<Result<bool>> FormatDriver::has_holes_below() { co_return false; }
Task<Result<void>> FormatDriver::read_encoded(Encoded, ByteRange, MutableBuffers) {
  co_return fail(unsupported("decode"));
}
Task<Result<void>> FormatDriver::write_encoded(ByteRange, ConstBuffers) {
  co_return fail(unsupported("store compressed data"));
}

}  // namespace ashlar
