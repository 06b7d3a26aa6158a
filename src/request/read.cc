// The one reader: splits a range by where it lives and reads the parts.
#include <algorithm>
#include <optional>

#include "ashlar/loop.h"
#include "async/sync.h"
#include "graph/graph_node.h"
#include "request/request.h"
#include "request/resolve.h"
#include "request/storage_io.h"

namespace ashlar::request {

namespace {

/// Parts of one request that are read at the same time.
constexpr size_t kParallelParts = 16;

Task<Result<void>> read_target(Target target, MutableBuffers into) {
  switch (target.kind) {
    case Target::Kind::kZero:
      into.fill(std::byte{0});
      co_return ok();
    case Target::Kind::kStorage:
      co_return co_await read_storage(*target.node, {target.offset, target.length}, into);
    case Target::Kind::kEncoded: {
      const ByteRange guest{target.offset, target.length};
      co_return co_await target.node->format()->read_encoded(target.encoded, guest, into);
    }
  }
  co_return ok();
}

Task<void> read_part(Target target, MutableBuffers into, Result<void>& first_error) {
  Result<void> result = co_await read_target(target, into);
  if (!result && first_error) first_error = result;
}

}  // namespace

std::optional<Result<void>> read_now(GraphNode& node, ByteRange range,
                                     MutableBuffers into) noexcept {
  while (true) {
    std::optional<Target> target = resolve_now(node, range);
    if (!target || target->kind == Target::Kind::kEncoded) return std::nullopt;
    const MutableBuffers part = into.slice(0, target->length);
    if (target->kind == Target::Kind::kZero) {
      part.fill(std::byte{0});
    } else {
      const ByteRange where{target->offset, target->length};
      if (!fits_driver(*target->node, where, part)) return std::nullopt;
      std::optional<Result<void>> done = target->node->driver().read_now(where, part);
      if (!done || !*done) return done;
    }
    if (target->length == range.length) return ok();
    range = range.after(target->length);
    into.remove_front(target->length);
  }
}

Task<Result<void>> read(GraphNode& node, ByteRange range, MutableBuffers into) {
  if (range.empty()) co_return ok();
  Result<Target> target = co_await resolve(node, range);
  if (!target) co_return fail(target.error());
  if (target->length == range.length) co_return co_await read_target(*target, into);

  Scope parts;
  Result<void> first_error;
  while (true) {
    parts.spawn(read_part(*target, into.slice(0, target->length), first_error));
    if (target->length == range.length || !first_error) break;
    range = range.after(target->length);
    into.remove_front(target->length);
    if (parts.running() >= kParallelParts) co_await parts.join();
    target = co_await resolve(node, range);
    if (!target) {
      first_error = fail(target.error());
      break;
    }
  }
  co_await parts.join();
  co_return first_error;
}

}  // namespace ashlar::request
