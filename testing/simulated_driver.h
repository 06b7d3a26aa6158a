// A storage driver over a simulated disk, so that whole trees of nodes run in simulation.
#pragma once

#include <memory>

#include "ashlar/driver.h"
#include "testing/simulated_disk.h"

namespace ashlar {

/// Reads and writes a disk that it shares with the test. Every request takes a random time of the
/// loop's clock, so that requests in flight together finish in any order. Works on any loop of a
/// runtime whose loops share a thread.
class SimulatedDriver final : public Driver {
 public:
  struct Settings {
    uint64_t request_alignment = 1;
    uint64_t longest_ns = 50'000;  ///< of one request; 0: they finish at once
  };
  SimulatedDriver(std::shared_ptr<SimulatedDisk> disk, Settings settings)
      : disk_(std::move(disk)), settings_(settings) {}

  NodeInfo info() const override;
  Task<Result<void>> read(ByteRange range, MutableBuffers into) override;
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags) override;
  Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags) override;
  Task<Result<void>> discard(ByteRange range) override;
  Task<Result<void>> flush() override;
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override;
  Task<Result<Extent>> status(ByteRange range) override;

 private:
  Task<void> pause() const;
  Task<Result<void>> finish_later(SimulatedDisk::RequestId id);

  const std::shared_ptr<SimulatedDisk> disk_;
  const Settings settings_;
};

/// "simulated-disk": opens the disk that SimulatedRuntime::attach_disk() put under option "disk".
extern const DriverSpec simulated_disk_driver;

}  // namespace ashlar
