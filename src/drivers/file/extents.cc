// Data and holes by lseek.
#include "drivers/file/extents.h"

#include <unistd.h>

#include <cerrno>
#include <limits>

namespace ashlar::file {

FileExtent find_extent(int fd, uint64_t offset) noexcept {
  constexpr uint64_t kForever = std::numeric_limits<uint64_t>::max();
  const auto at = static_cast<off_t>(offset);
  const off_t data = ::lseek(fd, at, SEEK_DATA);
  if (data < 0) return {offset, kForever, errno != ENXIO};  // ENXIO: no data up to the end
  if (data > at) return {offset, static_cast<uint64_t>(data), false};
  const off_t hole = ::lseek(fd, at, SEEK_HOLE);
  if (hole < 0 && errno == ENXIO) return {offset, kForever, false};  // truncated in between
  // Punched in between: call this byte data, the next question finds the hole.
  if (hole == at) return {offset, offset + 1, true};
  return {offset, hole < 0 ? kForever : static_cast<uint64_t>(hole), true};
}

}  // namespace ashlar::file
