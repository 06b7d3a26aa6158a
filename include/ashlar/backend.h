// The backend: what a frontend (device model, export, job, tool) holds on to. It has a name or
// none, outlives any medium in it, and hides the graph of nodes below.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/permissions.h"
#include "ashlar/request.h"
#include "ashlar/task.h"

namespace ashlar {

class Backend;
class NodeRef;
class ThrottleGroup;

/// A counted reference. The last one destroys: waits for requests, detaches the medium (which
/// closes if nobody else uses it), and frees the object. Control loop only.
class BackendRef {
 public:
  BackendRef() = default;
  explicit BackendRef(Backend* backend);
  BackendRef(const BackendRef& other) : BackendRef(other.backend_) {}
  BackendRef(BackendRef&& other) noexcept : backend_(std::exchange(other.backend_, nullptr)) {}
  BackendRef& operator=(BackendRef other) noexcept {
    std::swap(backend_, other.backend_);
    return *this;
  }
  ~BackendRef();
  Backend* get() const noexcept { return backend_; }
  Backend& operator*() const noexcept { return *backend_; }
  Backend* operator->() const noexcept { return backend_; }
  explicit operator bool() const noexcept { return backend_ != nullptr; }

 private:
  Backend* backend_ = nullptr;
};

/// What a frontend is told. Called on the control loop. All have defaults: a frontend overrides
/// what concerns it.
class DeviceCallbacks {
 public:
  virtual ~DeviceCallbacks() = default;
  enum class Medium : uint8_t { kInserted, kRemoved, kChanged };
  virtual void medium_changed(Medium) {}
  virtual void resized(uint64_t /*size*/) {}
  /// The user wants the medium out. False: refused (the tray is locked).
  virtual bool eject_requested() { return true; }
  virtual bool tray_locked() const { return false; }
  virtual bool tray_open() const { return false; }
  /// Only removable devices have one.
  virtual bool has_tray() const { return false; }
  virtual void tray_moved(bool /*open*/) {}
  virtual void drained_begin() {}
  virtual void drained_end() {}
  /// What the device is called in messages.
  virtual std::string describe() const = 0;
};

/// What to do when a request fails.
enum class ErrorPolicy : uint8_t { kReport, kIgnore, kStop, kStopOnNoSpace };

/// Told about failed requests and stops; for monitors. Called on the control loop.
class BackendObserver {
 public:
  virtual ~BackendObserver() = default;
  struct IoErrorEvent {
    Backend* backend;
    std::string node;
    enum class Operation : uint8_t { kRead, kWrite } operation;
    ErrorPolicy action;
    Error error;
  };
  virtual void io_error(const IoErrorEvent&) {}
  /// A driver below found its image corrupt while in use.
  struct CorruptionEvent {
    Backend* backend;
    std::string node;
    Error error;
  };
  virtual void image_corrupted(const CorruptionEvent&) {}
};

/// Counters since creation. Bytes of requests that succeeded.
struct BackendStatistics {
  uint64_t reads = 0, writes = 0, flushes = 0, discards = 0, zero_writes = 0;
  uint64_t read_bytes = 0, written_bytes = 0, discarded_bytes = 0;
  uint64_t failed_reads = 0, failed_writes = 0;
};

/// A backend. Requests may come from any loop; everything else from the control loop.
class Backend {
 public:
  virtual ~Backend() = default;

  /// Empty for anonymous ones.
  virtual const std::string& name() const noexcept = 0;

  // --- Requests. Errors: kNoMedium, kOutOfRange past the end, kReadOnly where writing was not
  // asked for (see set_permissions) or is impossible, kIo and what drivers say. While drained,
  // requests wait; kBusy when too many do.

  /// Reads all of `range` into `into`, or fails. `into` must stay valid until the task has ended.
  virtual Task<Result<void>> read(ByteRange range, MutableBuffers into) = 0;
  virtual Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags) = 0;
  virtual Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags) = 0;
  /// A hint: what was discarded reads as anything until written, zeroes where the format says so.
  virtual Task<Result<void>> discard(ByteRange range) = 0;
  virtual Task<Result<void>> flush() = 0;
  /// What is known of the start of `range` without reading it. `above_depth`: look only at the
  /// first that many layers (1: the top alone); 0: all.
  virtual Task<Result<Extent>> status(ByteRange range, unsigned layers = 0) = 0;
  /// Changes the size of the medium, and tells the device.
  virtual Task<Result<void>> resize(uint64_t size, ResizeFlags flags) = 0;

  /// Errors: kNoMedium. Unknown is not zero.
  virtual Result<uint64_t> size() const = 0;
  virtual bool writable() const = 0;
  /// Bytes the medium occupies in the host's file system, without its backing images; empty when
  /// unknown.
  virtual std::optional<uint64_t> allocated_size() const = 0;
  /// Writes complete when they are durable (each is followed by a flush).
  enum class WriteCache : uint8_t { kBack, kThrough };
  virtual void set_write_cache(WriteCache mode) = 0;
  /// Requests share the limits of `group` from now on; null: no limits. Those that wait go on.
  virtual Task<void> set_throttle(std::shared_ptr<ThrottleGroup> group) = 0;
  virtual std::shared_ptr<ThrottleGroup> throttle() const = 0;

  // --- The medium.

  virtual bool has_medium() const = 0;
  /// The root node, or null.
  virtual class Node* root() const = 0;
  /// What this backend needs of its medium and lets others do. Taken at once when there is one.
  /// At first it reads, and shares everything.
  virtual Result<void> set_permissions(Permissions used, Permissions shared) = 0;
  /// Errors: kBusy when there is one already or the tray of the device is closed; permissions.
  virtual Task<Result<void>> insert_medium(NodeRef node) = 0;
  /// Waits for requests, and until the medium has closed unless others use it; ejecting an empty
  /// backend succeeds. An error of closing is told by Graph::close().
  enum class Eject : uint8_t { kAsk, kForce };
  virtual Task<Result<void>> eject_medium(Eject how) = 0;
  /// Eject and insert as one: a failure leaves the old medium, the device is told once. Waits for
  /// the old medium as eject_medium() does.
  virtual Task<Result<void>> change_medium(NodeRef node, Eject how) = 0;

  // --- The device.

  /// Takes a reference. Errors: kBusy when a device is attached. `owned`: the backend was made on
  /// behalf of this device and goes with it.
  enum class Origin : uint8_t { kIndependent, kMadeForDevice };
  virtual Result<void> attach_device(DeviceCallbacks& device, Origin origin) = 0;
  /// The medium stays, but for backends made for the device; permissions are as at first again.
  virtual void detach_device() = 0;
  virtual DeviceCallbacks* device() const = 0;

  // --- Life.

  /// Takes the name away; the object stays while referenced.
  virtual void remove_name() = 0;
  /// The user deletes it (drive_del): name and medium go at once, requests then fail as for no
  /// medium, the object lives until its device lets go.
  virtual Task<Result<void>> remove() = 0;
  /// Lets no request start and waits until none is in flight. Counted.
  virtual Task<void> drain_begin() = 0;
  virtual void drain_end() = 0;

  // --- Errors and statistics.

  virtual void set_error_policy(ErrorPolicy on_read, ErrorPolicy on_write) = 0;
  virtual void set_observer(BackendObserver* observer) = 0;
  /// Lets requests that a "stop" policy holds try again.
  virtual void resume() = 0;
  virtual bool stopped() const = 0;
  virtual BackendStatistics statistics() const = 0;
};

}  // namespace ashlar
