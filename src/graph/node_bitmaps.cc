// Loading and saving the persistent bitmaps of nodes.
#include "graph/node_bitmaps.h"

#include <algorithm>

#include "graph/graph_node.h"

namespace ashlar {
namespace {

using Bitmaps = WriteWatch::Bitmaps;
using Life = TrackedBitmap::Life;
using State = PersistentBitmap::State;

TrackedBitmap inconsistent(PersistentBitmap bitmap, uint64_t size) {
  TrackedBitmap tracked;
  tracked.bitmap = std::move(bitmap);
  tracked.bitmap.state = State::kInconsistent;
  tracked.life = Life::kPersistent;
  tracked.disk_size = size;
  return tracked;
}

/// `left`: bytes that may still be used for bits.
Task<TrackedBitmap> load_one(BitmapKeeper& keeper, const PersistentBitmap& bitmap, uint64_t size,
                             uint64_t& left) {
  const uint64_t bytes = TrackedBitmap::bytes_for(size, bitmap.granularity);
  if (bitmap.state == State::kInconsistent || bytes > left) {
    co_return inconsistent(bitmap, size);
  }
  const Result<std::vector<std::byte>> bits = co_await keeper.read_bitmap(bitmap.name);
  if (!bits) co_return inconsistent(bitmap, size);
  left -= bytes;
  TrackedBitmap tracked;
  tracked.bitmap = bitmap;
  tracked.life = Life::kPersistent;
  tracked.start(size);
  tracked.load(*bits);
  co_return tracked;
}

bool is_persistent(const TrackedBitmap& bitmap) { return bitmap.life == Life::kPersistent; }

std::vector<BitmapKeeper::Kept> to_keep(GraphNode& node) {
  return node.watch().with_bitmaps([](const Bitmaps& bitmaps) {
    std::vector<BitmapKeeper::Kept> kept;
    for (const TrackedBitmap& each : bitmaps) {
      if (!is_persistent(each) || each.bitmap.state == State::kInconsistent) continue;
      kept.push_back({each.bitmap, each.bits()});
    }
    return kept;
  });
}

}  // namespace

BitmapKeeper* keeper_of(const GraphNode& node) noexcept {
  return dynamic_cast<BitmapKeeper*>(node.driver().bitmap_store());
}

Task<Result<void>> load_bitmaps(GraphNode& node) {
  BitmapKeeper* keeper = keeper_of(node);
  if (keeper == nullptr) co_return ok();
  const Result<std::vector<PersistentBitmap>> listed = co_await keeper->list_bitmaps();
  if (!listed) co_return fail(listed.error());
  uint64_t left = TrackedBitmap::kMaxBytes;
  Bitmaps loaded;
  for (const PersistentBitmap& bitmap : *listed) {
    TrackedBitmap one = co_await load_one(*keeper, bitmap, node.size(), left);
    loaded.push_back(std::move(one));
  }
  node.watch().with_bitmaps([&loaded](Bitmaps& bitmaps) {
    std::erase_if(bitmaps, is_persistent);
    std::ranges::move(loaded, std::back_inserter(bitmaps));
  });
  node.watch().set_saved();
  co_return ok();
}

Task<Result<void>> load_written_bitmaps(GraphNode& node) {
  const OpenFlags& flags = node.flags();
  if (flags.read_only || flags.metadata_only || flags.checking) co_return ok();
  co_return co_await load_bitmaps(node);
}

Task<Result<void>> save_bitmaps(GraphNode& node) {
  if (node.flags().read_only) co_return ok();
  BitmapKeeper* keeper = keeper_of(node);
  if (keeper == nullptr) co_return ok();
  if (!node.watch().unsaved() && !keeper->bitmaps_are_marked()) co_return ok();
  std::vector<BitmapKeeper::Kept> kept = to_keep(node);
  if (kept.empty() && node.watch().removed().empty()) co_return ok();
  Result<void> saved = co_await keeper->save_bitmaps(std::move(kept), node.watch().removed());
  if (!saved) co_return fail(saved.error().within("save the bitmaps of node", node.name()));
  node.watch().removed().clear();
  node.watch().set_saved();
  co_return ok();
}

Task<Result<void>> mark_bitmaps(GraphNode& node) {
  node.watch().set_unsaved();
  BitmapKeeper* keeper = keeper_of(node);
  if (keeper == nullptr || node.flags().read_only) co_return ok();
  co_return co_await keeper->mark_bitmaps();
}

}  // namespace ashlar
