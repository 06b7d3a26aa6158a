// Looking at what a write would leave in front of a disk.
#include "backend/guessed_raw.h"

#include <algorithm>
#include <vector>

#include "graph/graph_state.h"
#include "graph/open.h"
#include "request/request.h"

namespace ashlar {

bool may_change_guess(const GraphNode& node, ByteRange range) noexcept {
  return node.flags().probed && range.offset < kProbedBytes && claims_anything(node.spec());
}

Task<Result<void>> write_guessed(GraphNode& node, ByteRange range, ConstBuffers from,
                                 WriteFlags flags) {
  std::vector<std::byte> head(std::min<uint64_t>(kProbedBytes, node.size()));
  const MutableBuffers into(head.data(), head.size());
  Result<void> read = co_await request::read(node, {0, head.size()}, into);
  if (!read) co_return read;
  const ByteRange changed = range.first(head.size() - range.offset);
  from.slice(0, changed.length).copy_to(std::span(head).subspan(range.offset, changed.length));
  const DriverSpec* guess = guess_format(node.graph().drivers(), head);
  if (guess != nullptr && guess != &node.spec()) {
    const std::string format(guess->name);
    co_return fail(Error(ErrorCode::kPermission, "this would make node \"" + node.name() +
                                                     "\", whose format was guessed, "
                                                     "an image of format " +
                                                     format)
                       .because("guessed-raw-header", {format}));
  }
  co_return co_await request::write(node, range, from, flags);
}

}  // namespace ashlar
