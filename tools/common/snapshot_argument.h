// The snapshot inside an image that -l names.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tools/common/image_arguments.h"

namespace ashlar::tools {

/// Which snapshot is meant.
struct SnapshotArgument {
  std::optional<std::string> id;
  std::optional<std::string> name;
  std::optional<std::string> either;  ///< the ID of one, or else its name
};

/// Reads "snapshot.id=ID,snapshot.name=NAME", or just one of the two values. Complains.
std::optional<SnapshotArgument> snapshot_argument(const Program& program, std::string_view text);

/// Makes `request` open that snapshot rather than the disk. Looks at the image for that; complains
/// when there is no such snapshot, or the image cannot be opened.
bool select_snapshot(Session& session, ImageRequest& request, const SnapshotArgument& wanted);

}  // namespace ashlar::tools
