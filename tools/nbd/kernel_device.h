// The kernel's own NBD client: /dev/nbdN.
#pragma once

#include <string>
#include <thread>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "async/owned_descriptor.h"
#include "exports/nbd/server.h"
#include "tools/common/program.h"
#include "tools/nbd/settings.h"

namespace ashlar::tools::nbd {

/// A device that shows an export of a server in this process. Its thread sits in the kernel until
/// the device is detached, or the server has ended the connection: close the server first.
class KernelDevice {
 public:
  /// Makes settings.device show the export settings.export_name of `server`.
  /// Errors carry the user's text.
  static Task<Result<KernelDevice>> attach(const Settings& settings, NbdServer& server);
  /// Detaches `device`, whoever serves it. Complains; returns the exit status.
  static int detach(const Program& program, const std::string& device);

  KernelDevice(KernelDevice&&) = default;
  KernelDevice& operator=(KernelDevice&&) = delete;
  ~KernelDevice();

 private:
  KernelDevice(OwnedDescriptor device, OwnedDescriptor socket);
  std::thread serving_;
};

}  // namespace ashlar::tools::nbd
