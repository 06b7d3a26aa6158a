// A device under test behind a vhost-user-blk export, and frontends that use it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "exports/vhost_user_blk/export.h"
#include "testing/temporary_folder.h"
#include "testing/test_device.h"
#include "testing/vhost_user_frontend.h"

namespace ashlar::vhost {

/// Frontends run on the control loop; queues on it, too, or on loops of their own.
class ExportedDisk {
 public:
  struct Options {
    std::string medium = "driver=memory,size=4M,limit=64M,discard=unmap";  ///< empty: none
    std::string options;  ///< of the export, key=value, besides its address
    unsigned io_loops = 0;
    bool writable = true;
    bool write_through = false;
    RuntimeOptions::FileBackend files = RuntimeOptions::FileBackend::kAutomatic;
  };
  ExportedDisk();
  explicit ExportedDisk(Options options);
  ExportedDisk(const ExportedDisk&) = delete;
  ~ExportedDisk();

  TestDevice& device() { return *device_; }
  VhostUserBlkExport& running() { return static_cast<VhostUserBlkExport&>(*export_); }
  std::string socket() const { return folder_.path("socket"); }
  const TemporaryFolder& folder() const { return folder_; }
  /// Closes the export before its time.
  void close();

  template <typename T>
  T run(Task<T> task) {
    return sync_wait(device_->runtime(), std::move(task));
  }

  /// A frontend whose queues run; it is closed with this object at the latest.
  Frontend& connect(Frontend::Options options = {});
  /// One that has not connected.
  Frontend& frontend(Frontend::Options options = {});
  /// One request on a queue of `from`; a test failure when it does not come back.
  Frontend::Completion request(Frontend& from, uint16_t queue, const Frontend::Demand& demand);
  /// Closes `from` and waits until the export knows.
  void leave(Frontend& from);
  /// Waits until the export has ended `from`'s connection, and says why: the reason of its error.
  std::string end_of(Frontend& from);

 private:
  TemporaryFolder folder_;
  std::unique_ptr<TestDevice> device_;
  std::unique_ptr<Export> export_;
  std::vector<std::unique_ptr<Frontend>> frontends_;
  size_t clients_ = 0;  // that have left, or were made to
};

/// Types of requests, as the guest writes them.
inline constexpr uint32_t kRead = 0;
inline constexpr uint32_t kWrite = 1;
inline constexpr uint32_t kFlush = 4;
inline constexpr uint32_t kIdentify = 8;
inline constexpr uint32_t kDiscard = 11;
inline constexpr uint32_t kWriteZeroes = 13;

/// One piece of a discard or a write of zeroes, as bytes.
Bytes range_bytes(uint64_t sector, uint32_t sectors, uint32_t flags);

}  // namespace ashlar::vhost
