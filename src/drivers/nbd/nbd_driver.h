// A node whose bytes are on an NBD server.
#pragma once

#include "ashlar/driver.h"
#include "drivers/nbd/pool.h"

namespace ashlar::nbd::client {

class NbdDriver final : public Driver {
 public:
  NbdDriver(std::unique_ptr<Pool> pool, const NodeInfo& info, OptionDict naming)
      : pool_(std::move(pool)), info_(info), naming_(std::move(naming)) {}

  NodeInfo info() const override { return info_; }
  Task<Result<void>> read(ByteRange range, MutableBuffers into) override;
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags) override;
  Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags) override;
  Task<Result<void>> discard(ByteRange range) override;
  Task<Result<void>> flush() override;
  /// The server's: only the size it has already.
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override;
  Task<Result<Extent>> status(ByteRange range) override;
  OptionDict naming_options() const override { return naming_; }
  Task<Result<std::unique_ptr<PreparedReopen>>> prepare_reopen(OptionDict& options,
                                                               const OpenFlags& flags) override;
  Task<Result<void>> close() override;

 private:
  bool can(uint16_t flag) const noexcept { return pool_->agreement().can(flag); }
  /// Most bytes of one request without data.
  uint64_t most_at_once() const noexcept;
  /// A request without data for all of `range`, in as many parts as it takes.
  Task<Result<void>> in_parts(Request request, ByteRange range);

  const std::unique_ptr<Pool> pool_;
  const NodeInfo info_;
  const OptionDict naming_;
};

/// What is true of an export. Errors: kInvalidArgument (reason "nbd-size" {size, unit}),
/// kTooLarge ("device-too-large").
Result<NodeInfo> node_info(const Agreement& agreement);

/// Fails where an export is read-only and the node is not. Reason "nbd-read-only".
Result<void> check_writable(const Agreement& agreement, const OpenFlags& flags);

}  // namespace ashlar::nbd::client
