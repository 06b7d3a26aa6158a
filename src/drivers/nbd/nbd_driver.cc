// Requests of the layer as requests of the protocol.
#include "drivers/nbd/nbd_driver.h"

#include <fmt/format.h>

#include <algorithm>

#include "drivers/plain_reopen.h"

namespace ashlar::nbd::client {
namespace {

/// What the protocol advises to assume of servers that say nothing.
constexpr uint32_t kUsualBlock = 512;

Error unsupported(std::string_view what) {
  return Error(ErrorCode::kUnsupported, fmt::format("server cannot {}", what))
      .because("driver-unsupported", {std::string(what)});
}

Request request_for(Command command, ByteRange range) {
  Request request;
  request.command = command;
  request.offset = range.offset;
  request.length = range.length;
  return request;
}

}  // namespace

Result<NodeInfo> node_info(const Agreement& agreement) {
  const uint64_t size = agreement.summary.size;
  if (size > kMaxDeviceSize) {
    return fail(Error(ErrorCode::kTooLarge,
                      fmt::format("nbd: an export of {} bytes is above the limit of 2^63", size))
                    .because("device-too-large"));
  }
  NodeInfo info;
  info.size = size;
  info.request_alignment = is_aligned(size, kUsualBlock) ? kUsualBlock : 1;
  uint32_t most = kDefaultMaxPayload;
  if (agreement.sizes) {
    info.request_alignment = agreement.sizes->minimum;
    most = std::min(most, agreement.sizes->maximum_payload);
  }
  if (!is_aligned(size, info.request_alignment)) {
    return fail(
        Error(ErrorCode::kInvalidArgument,
              fmt::format("nbd: an export of {} bytes is no multiple of its smallest block, "
                          "{} bytes",
                          size, info.request_alignment))
            .because("nbd-size", {std::to_string(size), std::to_string(info.request_alignment)}));
  }
  info.max_transfer =
      std::max<uint64_t>(align_down(most, info.request_alignment), info.request_alignment);
  const bool writable = !agreement.can(transmission_flag::kReadOnly);
  if (agreement.can(transmission_flag::kFua)) info.fua = NodeInfo::Fua::kNative;
  if (writable && agreement.can(transmission_flag::kWriteZeroes)) {
    info.zeroes = NodeInfo::Zeroes::kNative;
  }
  if (writable && agreement.can(transmission_flag::kTrim)) {
    info.discards = NodeInfo::Discards::kNative;
  }
  return info;
}

Result<void> check_writable(const Agreement& agreement, const OpenFlags& flags) {
  if (flags.read_only || !agreement.can(transmission_flag::kReadOnly)) return ok();
  return fail(
      Error(ErrorCode::kReadOnly, "the NBD server exports it read-only").because("nbd-read-only"));
}

uint64_t NbdDriver::most_at_once() const noexcept {
  const bool extended = pool_->agreement().headers == Headers::kExtended;
  return align_down(extended ? kMaxDeviceSize : UINT32_MAX, info_.request_alignment);
}

// Alignment in the layer may have made a request larger than a server takes.
Task<Result<void>> NbdDriver::read(ByteRange range, MutableBuffers into) {
  while (!range.empty()) {
    const ByteRange part = range.first(info_.max_transfer);
    Call call;
    call.request = request_for(Command::kRead, part);
    call.into = into.slice(0, part.length);
    Result<void> done = co_await pool_->perform(call);
    if (!done) co_return done;
    range = range.after(part.length);
    into.remove_front(part.length);
  }
  co_return ok();
}

Task<Result<void>> NbdDriver::write(ByteRange range, ConstBuffers from, WriteFlags flags) {
  while (!range.empty()) {
    const ByteRange part = range.first(info_.max_transfer);
    Call call;
    call.request = request_for(Command::kWrite, part);
    if (flags.fua && info_.fua == NodeInfo::Fua::kNative) call.request.flags |= command_flag::kFua;
    if (pool_->agreement().headers == Headers::kExtended) {
      call.request.flags |= command_flag::kPayloadLength;
    }
    call.payload = from.slice(0, part.length);
    Result<void> done = co_await pool_->perform(call);
    if (!done) co_return done;
    range = range.after(part.length);
    from.remove_front(part.length);
  }
  co_return ok();
}

Task<Result<void>> NbdDriver::in_parts(Request request, ByteRange range) {
  while (!range.empty()) {
    const ByteRange part = range.first(most_at_once());
    Call call;
    call.request = request;
    call.request.offset = part.offset;
    call.request.length = part.length;
    Result<void> done = co_await pool_->perform(call);
    if (!done) co_return done;
    range = range.after(part.length);
  }
  co_return ok();
}

Task<Result<void>> NbdDriver::write_zeroes(ByteRange range, ZeroFlags flags) {
  if (info_.zeroes != NodeInfo::Zeroes::kNative)
    co_return fail(unsupported("zero without writing"));
  Request request = request_for(Command::kWriteZeroes, range);
  if (flags.no_fallback) {
    // Without the flag the server may take as long as if it wrote.
    if (!can(transmission_flag::kFastZero)) co_return fail(unsupported("zero fast"));
    request.flags |= command_flag::kFastZero;
  }
  if (!flags.may_unmap) request.flags |= command_flag::kNoHole;
  if (flags.fua && info_.fua == NodeInfo::Fua::kNative) request.flags |= command_flag::kFua;
  co_return co_await in_parts(request, range);
}

Task<Result<void>> NbdDriver::discard(ByteRange range) {
  if (info_.discards != NodeInfo::Discards::kNative) co_return fail(unsupported("discard"));
  co_return co_await in_parts(request_for(Command::kTrim, range), range);
}

Task<Result<void>> NbdDriver::flush() {
  if (!can(transmission_flag::kFlush)) co_return ok();
  Call call;
  call.request = request_for(Command::kFlush, ByteRange());
  co_return co_await pool_->perform(call);
}

Task<Result<void>> NbdDriver::resize(uint64_t size, ResizeFlags) {
  if (size == info_.size) co_return ok();
  co_return fail(
      Error(ErrorCode::kUnsupported,
            fmt::format("an NBD server of {} bytes cannot be made to have {}", info_.size, size))
          .because("nbd-resize"));
}

Task<Result<Extent>> NbdDriver::status(ByteRange range) {
  Extent extent;
  extent.length = range.length;
  extent.present = true;
  extent.offset = range.offset;
  extent.data = true;
  if (!pool_->agreement().context) co_return extent;
  const ByteRange asked = range.first(most_at_once());
  Call call;
  call.request = request_for(Command::kBlockStatus, asked);
  call.request.flags = command_flag::kOneExtent;
  Result<void> done = co_await pool_->perform(call);
  if (!done) co_return fail(done.error());
  // The server may know more than it was asked; less than a block would be of no use.
  const uint64_t told = std::min(call.status.length, asked.length);
  extent.length = std::max<uint64_t>(align_down(told, info_.request_alignment),
                                     std::min<uint64_t>(info_.request_alignment, range.length));
  if (told >= info_.request_alignment) {
    extent.data = (call.status.flags & kStateHole) == 0;
    extent.zero = (call.status.flags & kStateZero) != 0;
    // A hole of unknown content, as dirty areas show.
    extent.present = extent.data || extent.zero;
    if (!extent.present) extent.offset.reset();
  }
  co_return extent;
}

Task<Result<std::unique_ptr<PreparedReopen>>> NbdDriver::prepare_reopen(OptionDict&,
                                                                        const OpenFlags& flags) {
  Result<void> allowed = check_writable(pool_->agreement(), flags);
  if (!allowed) co_return fail(allowed.error());
  co_return co_await plain_reopen();
}

Task<Result<void>> NbdDriver::close() {
  co_await pool_->close();
  co_return ok();
}

}  // namespace ashlar::nbd::client
