// The block device that a guest sees (virtio 1.2, section 5.2): features, config space, requests.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "ashlar/backend.h"
#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/task.h"
#include "exports/vhost_user_blk/descriptor_chain.h"
#include "exports/vhost_user_blk/protocol.h"

namespace ashlar::vhost {

/// A request as it stands in the guest's memory: the header was copied and will not change.
struct BlockRequest {
  uint32_t type = 0;
  uint64_t sector = 0;
  ConstBuffers from;            ///< what the driver sends
  MutableBuffers into;          ///< what it wants filled
  std::byte* status = nullptr;  ///< the last byte that may be written

  /// Errors: kInvalidArgument (reason "vhost-request") without room for header and status.
  static Result<BlockRequest> decode(const DescriptorChain& chain);
};

/// How a request ends.
enum class Status : uint8_t { kOk = 0, kError = 1, kUnsupported = 2 };

/// A request on its way.
struct StartedRequest {
  Task<Result<void>> work;  ///< not valid: `status` is known already
  Status status = Status::kOk;
  uint64_t fills = 0;  ///< bytes at the start of `into` that success fills
};

/// The device of one export. Requests come from any loop.
class BlockDevice {
 public:
  static constexpr size_t kMostSerial = 20;
  static constexpr size_t kConfigSize = 60;

  struct Setup {
    Backend* backend = nullptr;
    bool writable = false;
    bool write_through = false;
    uint32_t block_size = 512;
    uint16_t queues = 1;
    std::string serial;
  };
  explicit BlockDevice(Setup setup) : setup_(std::move(setup)) { reset(); }

  const Setup& setup() const noexcept { return setup_; }
  /// Of the device and of its rings.
  uint64_t features() const noexcept;

  /// As for a driver that has not said anything yet.
  void reset() noexcept;
  /// What the driver takes of features().
  void accept(uint64_t features) noexcept;

  std::array<std::byte, kConfigSize> config() const;
  /// The driver chooses between a write-back and a write-through cache; nothing else is writable.
  /// Errors: kReadOnly, reason "vhost-config".
  Result<void> set_config(const ConfigPart& part);

  StartedRequest start(const BlockRequest& request);

 private:
  /// Whether writes must be durable when they are answered.
  bool through() const noexcept;
  StartedRequest start_transfer(const BlockRequest& request);
  StartedRequest start_ranges(const BlockRequest& request);
  StartedRequest identify(const BlockRequest& request) const;

  const Setup setup_;
  std::atomic<uint64_t> accepted_{0};
  std::atomic<bool> write_back_{true};
};

}  // namespace ashlar::vhost
