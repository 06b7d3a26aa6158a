// An overlay that takes the writes to an image and goes away with the process.
#pragma once

#include "ashlar/node.h"
#include "tools/common/session.h"
#include "tools/common/temporary_file.h"

namespace ashlar::tools {

/// An overlay that is open.
struct TemporaryOverlay {
  TemporaryFile file;
  NodeRef node;
};

/// Makes an empty overlay over `base` and opens it with `flags`, as far as they suit a temporary
/// file.
Result<TemporaryOverlay> open_temporary_overlay(Session& session, NodeRef base, OpenFlags flags);

}  // namespace ashlar::tools
