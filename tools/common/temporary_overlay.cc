// Making and opening temporary overlays.
#include "tools/common/temporary_overlay.h"

#include <utility>

namespace ashlar::tools {
namespace {

Task<Result<NodeRef>> open_overlay(Graph& graph, NodeRef base, std::string file, OpenFlags flags) {
  OptionDict shape;
  shape.set("size", std::to_string(base->size()));
  const Result<void> created = co_await graph.create_image(file, "qcow2", std::move(shape));
  if (!created) co_return fail(created.error());
  OptionDict options;
  options.set("driver", "qcow2");
  options.set("file.driver", "file");
  options.set("file.filename", file);
  options.set("backing", std::monostate());
  Result<NodeRef> overlay = co_await graph.open(std::move(options), flags);
  if (!overlay) co_return overlay;
  const Result<void> attached = co_await graph.set_backing(**overlay, std::move(base));
  if (!attached) co_return fail(attached.error());
  co_return overlay;
}

}  // namespace

Result<TemporaryOverlay> open_temporary_overlay(Session& session, NodeRef base, OpenFlags flags) {
  Result<TemporaryFile> file = TemporaryFile::create();
  if (!file) return fail(file.error());
  flags.read_only = false;
  flags.cache_direct = false;   // temporary folders need not know O_DIRECT
  flags.cache_no_flush = true;  // nothing of it is to survive
  flags.force_share = false;
  Result<NodeRef> node =
      session.wait(open_overlay(session.graph(), std::move(base), file->path(), flags));
  if (!node) return fail(node.error());
  return TemporaryOverlay{.file = std::move(*file), .node = std::move(*node)};
}

}  // namespace ashlar::tools
