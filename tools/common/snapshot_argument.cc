// Reading -l, and finding what it names.
#include "tools/common/snapshot_argument.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/common/peer_text.h"

namespace ashlar::tools {
namespace {

constexpr std::string_view kId = "snapshot.id";
constexpr std::string_view kName = "snapshot.name";

const SnapshotInfo* find(const ImageInfo& image, const SnapshotArgument& wanted) {
  const auto first = [&image](const auto& matches) -> const SnapshotInfo* {
    const auto found = std::ranges::find_if(image.snapshots, matches);
    return found == image.snapshots.end() ? nullptr : &*found;
  };
  if (wanted.either) {
    if (const SnapshotInfo* by_id = first(
            [&wanted](const SnapshotInfo& snapshot) { return snapshot.id == *wanted.either; })) {
      return by_id;
    }
    return first(
        [&wanted](const SnapshotInfo& snapshot) { return snapshot.name == *wanted.either; });
  }
  return first([&wanted](const SnapshotInfo& snapshot) {
    return (!wanted.id || snapshot.id == *wanted.id) &&
           (!wanted.name || snapshot.name == *wanted.name);
  });
}

bool complain(const Program& program, std::string_view why) {
  program.error(fmt::format("Failed to load snapshot: {}", why));
  return false;
}

}  // namespace

std::optional<SnapshotArgument> snapshot_argument(const Program& program, std::string_view text) {
  SnapshotArgument wanted;
  if (!text.starts_with("snapshot.")) {
    wanted.either = std::string(text);
    return wanted;
  }
  Result<OptionDict> options = OptionDict::parse_key_value(text);
  std::string problem;
  if (options) {
    wanted.id = options->take_text(kId);
    wanted.name = options->take_text(kName);
    if (!options->empty()) {
      problem = fmt::format("Invalid parameter '{}'", options->entries().front().first);
    }
  } else {
    problem = peer_text(options.error());
  }
  if (problem.empty()) return wanted;
  program.error(problem);
  program.error(fmt::format("Failed in parsing snapshot param '{}'", text));
  return std::nullopt;
}

bool select_snapshot(Session& session, ImageRequest& request, const SnapshotArgument& wanted) {
  ImageRequest look = request;
  look.flags.metadata_only = true;
  look.flags.no_backing = true;
  const std::optional<NodeRef> node = open_node(session, look);
  if (!node) return false;
  const DriverSpec& format = (*node)->spec();
  if (!format.supports_snapshots) {
    return complain(session.program(),
                    fmt::format("Block format '{}' used by device '' does not support temporarily "
                                "loading internal snapshots",
                                format.name));
  }
  const ImageInfo image = (*node)->driver().describe();
  const SnapshotInfo* found = find(image, wanted);
  if (found == nullptr) return complain(session.program(), "Can't find snapshot");
  request.options.set("snapshot-id", found->id);
  request.options.set("snapshot-name", found->name);
  return true;
}

}  // namespace ashlar::tools
