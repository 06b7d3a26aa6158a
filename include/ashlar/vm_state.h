// Room inside an image, beside the disk, where states of machines are kept.
#pragma once

#include <cstdint>

#include "ashlar/bytes.h"
#include "ashlar/error.h"
#include "ashlar/task.h"

namespace ashlar {

/// The area of one opened image. It grows as it is written; what was not written reads as zeroes.
/// Snapshots keep it with the disk. Control loop only, one request at a time, and no other request
/// to the image meanwhile.
class VmStateArea {
 public:
  virtual ~VmStateArea() = default;
  /// Where it starts in the format's own count of guest bytes; for users to see.
  virtual uint64_t vm_state_offset() const = 0;
  virtual Task<Result<void>> read_vm_state(ByteRange range, MutableBuffers into) = 0;
  /// Durable when it completes. Errors: kTooLarge past what the format can say; those of any write.
  virtual Task<Result<void>> write_vm_state(ByteRange range, ConstBuffers from) = 0;
};

}  // namespace ashlar
