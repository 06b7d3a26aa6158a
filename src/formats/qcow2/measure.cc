// How large a qcow2 image of some disk will be.
#include "formats/qcow2/measure.h"

#include <algorithm>
#include <variant>

#include "base/checked.h"
#include "formats/qcow2/bitmap_directory.h"
#include "formats/qcow2/create_options.h"
#include "formats/qcow2/header.h"

namespace ashlar::qcow2 {
namespace {

/// Clusters of an image with every cluster of the disk allocated.
uint64_t full_clusters(const Header& header) {
  const uint64_t cluster_size = header.cluster_size();
  const uint64_t data = divide_up(header.size, cluster_size);
  const uint64_t l1 = divide_up(header.l1_bytes(), cluster_size);
  const uint64_t content = 1 + l1 + header.l1_size + data;
  // Refcounts count themselves.
  uint64_t blocks = 0;
  uint64_t table = 0;
  for (;;) {
    const uint64_t all = content + blocks + table;
    blocks = divide_up(all, header.refcounts_per_block());
    table = divide_up(blocks * 8, cluster_size);
    if (content + blocks + table == all) return all;
  }
}

/// Bytes of the clusters of the new image that hold data of `source`.
Task<Result<uint64_t>> count_data(MeasureSource& source, const Header& header) {
  const uint64_t cluster_size = header.cluster_size();
  const uint64_t size = source.size();
  uint64_t bytes = 0;
  for (uint64_t at = 0; at < size;) {
    const ByteRange rest = {at, size - at};
    const auto extent = co_await source.status(rest);
    if (!extent) co_return fail(extent.error());
    uint64_t end = at + std::clamp<uint64_t>(extent->length, 1, rest.length);
    if (extent->present && extent->data && !extent->zero) {
      const uint64_t start = align_down(at, cluster_size);
      end = std::min(align_up(end, cluster_size), align_up(size, cluster_size));
      bytes += end - start;
    }
    at = end;
  }
  co_return bytes;
}

const InfoValue* find(const InfoValue::Object& object, std::string_view name) {
  const auto found = std::ranges::find(object, name, &InfoValue::Object::value_type::first);
  return found == object.end() ? nullptr : &found->second;
}

template <typename T>
const T* get(const InfoValue* value) {
  return value == nullptr ? nullptr : std::get_if<T>(&value->value());
}

/// Clusters for the data and the table of one described bitmap, and its directory entry's bytes.
struct BitmapNeeds {
  uint64_t clusters = 0;
  uint64_t entry_bytes = 0;
};
BitmapNeeds needs_of(const InfoValue::Object& bitmap, const Header& target) {
  const auto* flags = get<InfoValue::List>(find(bitmap, "flags"));
  const auto* name = get<std::string>(find(bitmap, "name"));
  const auto* granularity = get<int64_t>(find(bitmap, "granularity"));
  if (flags == nullptr || name == nullptr || granularity == nullptr) return {};
  for (const InfoValue& flag : *flags) {
    const auto* word = get<std::string>(&flag);
    if (word != nullptr && *word == "in-use") return {};  // it will not be copied
  }
  const auto bits = static_cast<uint8_t>(std::countr_zero(static_cast<uint64_t>(*granularity)));
  const uint64_t data = bitmap_clusters(target, bits);
  return {data + divide_up(data * 8, target.cluster_size()),
          align_up(kBitmapEntryBytes + name->size(), 8)};
}

/// Room for the bitmaps of a source that can hold some; empty for other sources.
std::optional<uint64_t> bitmap_bytes(const MeasureSource& source, const Header& target) {
  if (target.version < 3 || source.driver() == nullptr) return std::nullopt;
  const ImageInfo info = source.driver()->describe();
  if (info.specific_type != "qcow2") return std::nullopt;
  const auto* compat = get<std::string>(find(info.specific, "compat"));
  if (compat == nullptr || *compat == "0.10") return std::nullopt;
  BitmapNeeds all;
  if (const auto* bitmaps = get<InfoValue::List>(find(info.specific, "bitmaps"))) {
    for (const InfoValue& bitmap : *bitmaps) {
      const auto* members = get<InfoValue::Object>(&bitmap);
      if (members == nullptr) continue;
      const BitmapNeeds needs = needs_of(*members, target);
      all.clusters += needs.clusters;
      all.entry_bytes += needs.entry_bytes;
    }
  }
  return (all.clusters + divide_up(all.entry_bytes, target.cluster_size())) * target.cluster_size();
}

}  // namespace

Task<Result<Measurement>> measure(MeasureSource& source, OptionDict options) {
  const auto request = read_measure_options(std::move(options), source.size());
  if (!request) co_return fail(request.error());
  const Header& header = request->header;
  const uint64_t disk = align_up(header.size, header.cluster_size());
  Measurement measured;
  measured.fully_allocated = full_clusters(header) * header.cluster_size();
  uint64_t data = 0;
  const bool filled = request->preallocation == Preallocation::kFalloc ||
                      request->preallocation == Preallocation::kFull;
  // What a backing file shows may have to be written over with zeroes.
  const bool may_need_all = !source.size_only() && !header.backing_file.empty();
  if (filled || may_need_all) {
    data = disk;
  } else if (!source.size_only()) {
    const auto counted = co_await count_data(source, header);
    if (!counted) co_return fail(counted.error());
    data = *counted;
  }
  measured.required = measured.fully_allocated - disk + data;
  measured.bitmaps = bitmap_bytes(source, header);
  co_return measured;
}

}  // namespace ashlar::qcow2
