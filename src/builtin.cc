// The explicit lists: a driver or an export is in the build because it stands here.
#include "ashlar/builtin.h"

#include <array>

#include "drivers/file/file.h"
#include "drivers/memory/memory.h"
#include "drivers/nbd/nbd.h"
#include "drivers/null/null.h"
#include "exports/fuse/fuse.h"
#include "exports/nbd/nbd.h"
#include "exports/vhost_user_blk/vhost_user_blk.h"
#include "filters/throttle/throttle.h"
#include "formats/qcow2/qcow2.h"
#include "formats/raw/raw.h"

namespace ashlar {

std::span<const DriverSpec* const> builtin_drivers() {
  static constexpr std::array<const DriverSpec*, 9> list{
      &file_driver,    &host_device_driver, &memory_driver, &nbd_driver,      &null_aio_driver,
      &null_co_driver, &qcow2_driver,       &raw_driver,    &throttle_driver,
  };
  return list;
}

std::span<const ExportSpec* const> builtin_exports() {
  static constexpr std::array<const ExportSpec*, 3> list{&fuse_export, &nbd_export,
                                                         &vhost_user_blk_export};
  return list;
}

}  // namespace ashlar
