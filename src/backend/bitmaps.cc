// Looking for a bitmap down the chain of a medium.
#include "backend/bitmaps.h"

#include <algorithm>
#include <utility>

#include "ashlar/node.h"

namespace ashlar {
namespace {

/// The node that shows the same disk as `node`, or what it looked like before; null: none does. A
/// format's file is no such node: what it holds is no disk, or another part of one.
Node* below(const Node& node) {
  return node.spec().kind == NodeKind::kFilter ? node.primary() : node.backing();
}

Task<Result<LoadedBitmap>> find_bitmap(Node* node, BitmapName which) {
  for (; node != nullptr; node = below(*node)) {
    BitmapStore* store = node->driver().bitmap_store();
    if (store == nullptr || (!which.node.empty() && which.node != node->name())) continue;
    const Result<std::vector<PersistentBitmap>> listed = co_await store->list_bitmaps();
    if (!listed) co_return fail(listed.error());
    const auto found = std::ranges::find(*listed, which.name, &PersistentBitmap::name);
    if (found == listed->end()) continue;
    Result<std::vector<std::byte>> bits = co_await store->read_bitmap(which.name);
    if (!bits) co_return fail(bits.error());
    LoadedBitmap loaded;
    loaded.bitmap = *found;
    loaded.bits = std::move(*bits);
    if (!node->flags().read_only) loaded.image = LoadedBitmap::Image::kWritable;
    co_return loaded;
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
