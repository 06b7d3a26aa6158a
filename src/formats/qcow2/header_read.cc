// Reading the qcow2 header from a file, in two steps: how large it is, then all of it.
#include <algorithm>

#include "ashlar/driver.h"
#include "formats/qcow2/header.h"

namespace ashlar::qcow2 {

Task<Result<Header>> read_header(Child& file) {
  const uint64_t file_size = file.size();
  std::vector<std::byte> bytes(std::min<uint64_t>(kHeaderProbeBytes, file_size));
  if (!bytes.empty()) {
    const ByteRange probe = {0, bytes.size()};
    MutableBuffers into(bytes);
    if (auto done = co_await file.read(probe, into); !done) {
      co_return fail(done.error().within("read header"));
    }
  }
  const auto geometry = header_geometry(bytes);
  if (!geometry) co_return fail(geometry.error());
  bytes.resize(std::min(uint64_t{1} << geometry->cluster_bits, file_size));
  const ByteRange cluster = {0, bytes.size()};
  MutableBuffers into(bytes);
  if (auto done = co_await file.read(cluster, into); !done) {
    co_return fail(done.error().within("read header"));
  }
  co_return decode_header(bytes);
}

}  // namespace ashlar::qcow2
