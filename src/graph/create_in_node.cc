// The files of an image that is created in a node.
#include "graph/create_in_node.h"

#include <fmt/format.h>

#include "graph/transaction.h"

namespace ashlar {
namespace {

constexpr Permissions kCreating =
    Permission::kConsistentRead | Permission::kWrite | Permission::kResize;

class NodeCreation final : public CreateContext {
 public:
  NodeCreation(GraphState& graph, NodeRef file)
      : graph_(graph),
        file_(std::move(file)),
        edge_(nullptr, "creating an image", "file", ChildRole::kPrimary) {}

  Task<Result<Child*>> create_file(uint64_t size, Preallocation preallocation) override {
    Transaction attach(graph_);
    attach.set_permissions(edge_, kCreating, Permission::kConsistentRead);
    Result<void> done = attach.point(edge_, static_cast<GraphNode*>(file_.get()));
    if (done) done = attach.apply();
    if (!done) co_return fail(done.error());
    attach.commit();
    // What was there must not show through.
    Result<void> emptied = co_await edge_.resize(0, ResizeFlags());
    if (!emptied) co_return fail(emptied.error());
    ResizeFlags flags;
    flags.preallocation = preallocation;
    Result<void> sized = co_await edge_.resize(size, flags);
    if (!sized) co_return fail(sized.error());
    co_return &edge_;
  }

  Task<Result<Child*>> create_other(std::string filename, uint64_t) override {
    co_return fail(Error(ErrorCode::kUnsupported,
                         fmt::format("\"{}\": an image in a node has no further files", filename))
                       .because("create-in-node-files", {filename}));
  }

  Task<Result<void>> finish() {
    if (edge_.child() == nullptr) co_return ok();
    Result<void> flushed = co_await edge_.flush();
    Transaction detach(graph_);
    (void)detach.point(edge_, nullptr);
    (void)detach.apply();  // to use nothing is not refused
    detach.commit();
    co_return flushed;
  }

 private:
  GraphState& graph_;
  NodeRef file_;
  Edge edge_;
};

}  // namespace

Task<Result<void>> create_image_in(GraphState& graph, NodeRef file, std::string format,
                                   OptionDict options) {
  const DriverSpec* spec = graph.find_driver(format);
  if (spec == nullptr || spec->create == nullptr) {
    co_return fail(
        Error(ErrorCode::kUnsupported, fmt::format("driver {} cannot create images", format))
            .because("create-unsupported", {format}));
  }
  NodeCreation creation(graph, std::move(file));
  Result<void> created = co_await spec->create(creation, std::move(options));
  Result<void> finished = co_await creation.finish();
  co_return created ? finished : created;
}

}  // namespace ashlar
