// Copying of persistent bitmaps.
#include "tools/img/bitmap_copy.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/common/peer_text.h"

namespace ashlar::tools {
namespace {

Task<Result<std::vector<PersistentBitmap>>> list_task(BitmapStore& store) {
  co_return co_await store.list_bitmaps();
}

Task<Result<void>> copy_task(BitmapStore& from, BitmapStore& to, PersistentBitmap bitmap) {
  Result<std::vector<std::byte>> bits = co_await from.read_bitmap(bitmap.name);
  if (!bits) co_return fail(bits.error());
  co_return co_await to.add_bitmap(std::move(bitmap), std::move(*bits));
}

}  // namespace

bool BitmapCopy::find(Broken broken) {
  const Program& program = session_.program();
  const auto found = session_.wait(list_task(source_));
  if (!found) {
    program.error(peer_text(found.error()));
    return false;
  }
  for (const PersistentBitmap& bitmap : *found) {
    if (bitmap.state != PersistentBitmap::State::kInconsistent) {
      bitmaps_.push_back(bitmap);
    } else if (broken == Broken::kSkip) {
      program.warning(fmt::format("Skipping inconsistent bitmap '{}'", bitmap.name));
    } else {
      program.error(
          fmt::format("Cannot copy inconsistent bitmap '{}'\n"
                      "Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it",
                      bitmap.name));
      return false;
    }
  }
  return true;
}

bool BitmapCopy::check_target(const Node& target, uint64_t source_size) const {
  const Program& program = session_.program();
  const auto there = session_.wait(list_task(*target.driver().bitmap_store()));
  if (!there) {
    program.error(peer_text(there.error()));
    return false;
  }
  for (auto bitmap = bitmaps_.rbegin(); bitmap != bitmaps_.rend(); ++bitmap) {
    if (std::ranges::find(*there, bitmap->name, &PersistentBitmap::name) == there->end()) continue;
    program.error(
        fmt::format("Failed to create bitmap {0}: Bitmap already exists: {0}", bitmap->name));
    return false;
  }
  if (bitmaps_.empty() || target.size() == source_size) return true;
  program.error(fmt::format(
      "Failed to populate bitmap {}: Bitmaps are of different sizes (destination size is {}, "
      "source size is {}) and can't be merged",
      bitmaps_.back().name, target.size(), source_size));
  return false;
}

bool BitmapCopy::copy_to(Node& target) {
  BitmapStore& store = *target.driver().bitmap_store();
  for (const PersistentBitmap& bitmap : bitmaps_) {
    const Result<void> copied = session_.wait(copy_task(source_, store, bitmap));
    if (copied) continue;
    session_.program().error(
        fmt::format("Failed to create bitmap {}: {}", bitmap.name, peer_text(copied.error())));
    return false;
  }
  return true;
}

}  // namespace ashlar::tools
