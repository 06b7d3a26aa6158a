// Persistent bitmaps that the layer keeps up to date: marked in the image before it is written, and
// saved when it is closed.
#include <algorithm>

#include "base/checked.h"
#include "formats/qcow2/bitmap_data.h"
#include "formats/qcow2/describe.h"
#include "formats/qcow2/image.h"

namespace ashlar::qcow2 {

/// What the image says of bitmaps will not be true for a while: say so in the image first, so that
/// after a crash nobody mistakes them for complete. Under metadata_.
Task<Result<void>> Image::mark_bitmaps_in_use(Marked which) {
  if (header_.valid_bitmaps() == nullptr) co_return ok();
  Result<std::vector<BitmapEntry>> bitmaps = co_await read_bitmap_directory(file_, header_);
  if (!bitmaps) co_return fail(bitmaps.error());
  std::vector<std::string> marked;
  for (BitmapEntry& bitmap : *bitmaps) {
    if (bitmap.in_use() || (which == Marked::kEnabled && !bitmap.is_auto())) continue;
    bitmap.flags |= bitmap_flag::kInUse;
    marked.push_back(bitmap.name);
  }
  if (marked.empty()) co_return ok();
  Result<std::vector<std::byte>> bytes = encode_bitmap_directory(header_, *bitmaps);
  if (!bytes) co_return fail(bytes.error());
  const ConstBuffers from(bytes->data(), bytes->size());
  Result<void> written =
      co_await file_.write({header_.bitmaps->directory_offset, bytes->size()}, from, {});
  if (written) written = co_await file_.flush();
  if (!written) co_return written;
  bitmaps_marked_.insert(bitmaps_marked_.end(), marked.begin(), marked.end());
  co_return ok();
}

Task<Result<void>> Image::mark_bitmaps() {
  if (Result<void> writable = check_writable(); !writable) co_return writable;
  Mutex::Guard guard = co_await metadata_.lock();
  co_return co_await mark_bitmaps_in_use(Marked::kAll);
}

/// The table and the data of a bitmap that goes. Those of one that others left inconsistent stay:
/// what their table says may be anything; a check finds the leak.
Task<Result<void>> Image::note_clusters_of(const BitmapEntry& old, NewBitmaps& change) {
  const bool ours = std::ranges::find(bitmaps_marked_, old.name) != bitmaps_marked_.end();
  if (old.in_use() && !ours) co_return ok();
  const auto table = co_await read_bitmap_table(file_, header_, old);
  if (!table) co_return fail(table.error());
  for (const BitmapTableEntry entry : *table) {
    if (entry.offset() != 0) change.replaced.push_back({cluster_of(entry.offset()), 1});
  }
  change.replaced.push_back(
      {cluster_of(old.table_offset), divide_up(old.table_bytes(), cluster_size())});
  co_return ok();
}

/// `entries`: of the bitmaps that stay as they are.
Task<Result<void>> Image::fill_saved_bitmaps(std::vector<BitmapEntry> entries,
                                             std::vector<Kept> kept, NewBitmaps& change) {
  for (Kept& each : kept) {
    const Result<void> possible = check_new_bitmap(each.bitmap, each.bits.size());
    if (!possible) co_return possible;
    auto entry = co_await write_bitmap(each.bitmap, each.bits, change);
    if (!entry) co_return fail(entry.error().within("save bitmap", each.bitmap.name));
    entries.push_back(std::move(*entry));
    each.bits = {};
  }
  co_return co_await write_directory(entries, header_.size, change);
}

Task<Result<void>> Image::finish_new_bitmaps(Result<void> filled) {
  if (filled) filled = co_await switch_to_new_bitmaps(header_.size);
  if (!filled) {
    co_await drop_new_bitmaps();
    co_return filled;
  }
  auto described = co_await read_description(header_, file_, Purpose::kWrite);
  if (!described) co_return fail(described.error());
  description_ = std::move(*described);
  co_return ok();
}

Task<Result<void>> Image::save_bitmaps(std::vector<Kept> kept, std::vector<std::string> removed) {
  if (Result<void> writable = check_writable(); !writable) co_return writable;
  // A resize may still wait for its header, whose size the bitmaps have to fit.
  if (new_bitmaps_ || header_.virtual_size() != size_.load()) {
    if (Result<void> flushed = co_await flush(); !flushed) co_return flushed;
  }
  const auto old = co_await read_bitmap_directory(file_, header_);
  if (!old) co_return fail(old.error());
  new_bitmaps_.emplace();
  std::vector<BitmapEntry> entries;
  Result<void> done = ok();
  for (const BitmapEntry& entry : *old) {
    const auto has_name = [&entry](const Kept& each) { return each.bitmap.name == entry.name; };
    const bool goes = std::ranges::any_of(kept, has_name) ||
                      std::ranges::find(removed, entry.name) != removed.end();
    if (!goes) entries.push_back(entry);
    if (goes && done) done = co_await note_clusters_of(entry, *new_bitmaps_);
  }
  if (done) done = co_await fill_saved_bitmaps(std::move(entries), std::move(kept), *new_bitmaps_);
  done = co_await finish_new_bitmaps(std::move(done));
  if (done) bitmaps_marked_.clear();
  co_return done;
}

}  // namespace ashlar::qcow2
