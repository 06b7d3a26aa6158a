// Guessing the format of an image from its first bytes.
#include <algorithm>
#include <array>
#include <memory>

#include "graph/open.h"
#include "graph/transaction.h"

namespace ashlar {

namespace {

Task<Result<size_t>> read_head(GraphState& graph, GraphNode& storage, std::span<std::byte> head) {
  const EpochDomain::Ticket inside = graph.requests().enter();
  const size_t length = static_cast<size_t>(std::min<uint64_t>(head.size(), storage.size()));
  if (length == 0) co_return size_t{0};
  // An edge of nobody: it needs nothing of the node, so it takes no locks.
  Edge reader(nullptr, "format probing", "probe", ChildRole::kFiltered);
  Transaction look(graph);
  Result<void> pointed = look.point(reader, &storage);
  if (!pointed) co_return fail(pointed.error());
  const ByteRange range{0, length};
  Result<void> read = co_await reader.read(range, MutableBuffers(head.first(length)));
  if (!read) co_return fail(read.error());
  co_return length;
}

}  // namespace

const DriverSpec* guess_format(std::span<const DriverSpec* const> drivers,
                               std::span<const std::byte> head) noexcept {
  const DriverSpec* best = nullptr;
  int best_score = 0;
  for (const DriverSpec* spec : drivers) {
    const int score = spec->probe == nullptr ? 0 : spec->probe(head);
    if (score <= best_score) continue;
    best = spec;
    best_score = score;
  }
  return best;
}

bool claims_anything(const DriverSpec& format) noexcept {
  return format.probe != nullptr && format.probe({}) > 0;
}

Task<Result<const DriverSpec*>> probe_format(GraphState& graph, NodeRef storage) {
  const auto head = std::make_unique<std::array<std::byte, kProbedBytes>>();
  GraphNode& node = static_cast<GraphNode&>(*storage);
  Result<size_t> length = co_await read_head(graph, node, *head);
  if (!length) co_return fail(length.error());
  const DriverSpec* best = guess_format(graph.drivers(), std::span(*head).first(*length));
  if (best != nullptr) co_return best;
  co_return fail(
      Error(ErrorCode::kWrongFormat, "\"" + node.filename() + "\" is an image of no known format")
          .because("format-unknown", {node.filename()}));
}

}  // namespace ashlar
