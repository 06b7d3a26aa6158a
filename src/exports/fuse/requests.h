// The requests of the kernel, as libfuse hands them out.
#pragma once

struct fuse_lowlevel_ops;

namespace ashlar::fuse {

/// What answers them; the session's user data is its Connection.
const fuse_lowlevel_ops& request_table() noexcept;

}  // namespace ashlar::fuse
