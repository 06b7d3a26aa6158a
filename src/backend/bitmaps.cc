// Looking for a bitmap down the chain of a medium.
#include "backend/bitmaps.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ashlar/node.h"
#include "graph/graph_node.h"

namespace ashlar {
namespace {

/// The node that shows the same disk as `node`, or what it looked like before; null: none does. A
/// format's file is no such node: what it holds is no disk, or another part of one.
Node* below(const Node& node) {
  return node.spec().kind == NodeKind::kFilter ? node.primary() : node.backing();
}

/// A bitmap in memory: what the image says of it may be out of date.
std::optional<LoadedBitmap> find_tracked(Node& node, const std::string& name) {
  return static_cast<GraphNode&>(node).watch().with_bitmaps(
      [&name](const WriteWatch::Bitmaps& bitmaps) -> std::optional<LoadedBitmap> {
        const auto found = std::ranges::find_if(
            bitmaps, [&name](const TrackedBitmap& each) { return each.bitmap.name == name; });
        if (found == bitmaps.end()) return std::nullopt;
        LoadedBitmap loaded;
        loaded.bitmap = found->bitmap;
        loaded.bits = found->bits();
        return loaded;
      });
}

Task<Result<std::optional<LoadedBitmap>>> find_stored(Node& node, std::string name) {
  BitmapStore* store = node.driver().bitmap_store();
  // Those of an image that can be written are in memory.
  if (store == nullptr || !node.flags().read_only) co_return std::nullopt;
  const Result<std::vector<PersistentBitmap>> listed = co_await store->list_bitmaps();
  if (!listed) co_return fail(listed.error());
  const auto found = std::ranges::find(*listed, name, &PersistentBitmap::name);
  if (found == listed->end()) co_return std::nullopt;
  Result<std::vector<std::byte>> bits = co_await store->read_bitmap(name);
  if (!bits) co_return fail(bits.error());
  LoadedBitmap loaded;
  loaded.bitmap = *found;
  loaded.bits = std::move(*bits);
  co_return loaded;
}

Task<Result<LoadedBitmap>> find_bitmap(Node* node, BitmapName which) {
  for (; node != nullptr; node = below(*node)) {
    if (!which.node.empty() && which.node != node->name()) continue;
    Result<std::optional<LoadedBitmap>> loaded = find_tracked(*node, which.name);
    if (!*loaded) loaded = co_await find_stored(*node, which.name);
    if (!loaded) co_return fail(loaded.error());
    if (!*loaded) continue;
    LoadedBitmap found = std::move(**loaded);
    if (found.bitmap.state == PersistentBitmap::State::kInconsistent) {
      co_return fail(
          Error(ErrorCode::kCorrupt,
                "bitmap \"" + which.name + "\" was not saved by whoever wrote to the disk last")
              .because("bitmap-inconsistent", {which.name}));
    }
    if (!node->flags().read_only) found.image = LoadedBitmap::Image::kWritable;
    co_return found;
  }
  co_return fail(Error(ErrorCode::kNotFound, "bitmap \"" + which.name + "\" is not there")
                     .because("bitmap-not-found", {which.name}));
}

}  // namespace

Task<Result<LoadedBitmap>> load_bitmap(Backend& backend, BitmapName which) {
  co_await backend.drain_begin();
  Result<LoadedBitmap> loaded = co_await find_bitmap(backend.root(), std::move(which));
  backend.drain_end();
  co_return loaded;
}

}  // namespace ashlar
