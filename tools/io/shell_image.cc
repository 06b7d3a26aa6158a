// Opening of images for the shell.
#include "tools/io/shell_image.h"

#include <utility>

#include "tools/common/temporary_overlay.h"

namespace ashlar::tools::io {
namespace {

constexpr std::string_view kCopyOnRead = "copy-on-read";

Result<void> check(const Graph& graph, const ShellImage& what) {
  if (what.aio) {
    const std::string_view problem = aio_mode_problem(*what.aio, what.image.flags);
    if (!problem.empty()) return fail(ErrorCode::kInvalidArgument, std::string(problem));
  }
  if (what.copy_on_read == ShellImage::CopyOnRead::kOff) return ok();
  if (what.image.flags.read_only) {
    return fail(ErrorCode::kInvalidArgument, "Can't use copy-on-read on read-only device");
  }
  if (graph.find_driver(kCopyOnRead) == nullptr) {
    return fail(ErrorCode::kUnsupported, "Unknown driver 'copy-on-read'");
  }
  return ok();
}

Task<Result<NodeRef>> open_copy_on_read(Graph& graph, NodeRef below, OpenFlags flags) {
  OptionDict options;
  options.set("driver", std::string(kCopyOnRead));
  options.set("file", below->name());
  co_return co_await graph.open(std::move(options), flags);
}

Task<Result<void>> insert(Backend& backend, NodeRef node) {
  co_return co_await backend.insert_medium(std::move(node));
}

}  // namespace

Permissions shell_permissions(bool writable) {
  const Permissions read = Permission::kConsistentRead;
  return writable ? read | Permission::kWrite | Permission::kResize : read;
}

Result<OpenImage> open_shell_image(Session& session, const ShellImage& what) {
  Graph& graph = session.graph();
  const Result<void> possible = check(graph, what);
  if (!possible) return fail(possible.error());

  OpenImage opened;
  ImageRequest request = what.image;
  if (what.overlay == ShellImage::Overlay::kTemporary) request.flags.read_only = true;
  Result<NodeRef> node = try_open_node(session, request);
  if (node && what.overlay == ShellImage::Overlay::kTemporary) {
    Result<TemporaryOverlay> overlay =
        open_temporary_overlay(session, std::move(*node), what.image.flags);
    if (!overlay) return fail(overlay.error());
    node = std::move(overlay->node);
    opened.overlay = std::move(overlay->file);
  }
  if (node && what.copy_on_read == ShellImage::CopyOnRead::kOn) {
    node = session.wait(open_copy_on_read(graph, std::move(*node), what.image.flags));
  }
  if (!node) return fail(node.error());

  Result<BackendRef> backend = graph.create_backend();
  if (!backend) return fail(backend.error());
  opened.backend = std::move(*backend);
  const bool writable = !what.image.flags.read_only;
  Result<void> done =
      opened.backend->set_permissions(shell_permissions(writable), Permissions::all());
  if (done) {
    opened.backend->set_write_cache(request.write_cache);
    done = session.wait(insert(*opened.backend, std::move(*node)));
  }
  if (!done) return fail(done.error());
  return opened;
}

}  // namespace ashlar::tools::io
