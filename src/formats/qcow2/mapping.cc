// Where guest ranges live, from the tables.
#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "formats/qcow2/image.h"

namespace ashlar::qcow2 {

namespace {

/// Whether `next` goes on where `first` ends, so that one answer covers both.
bool continues(const Mapping& first, const Mapping& next) noexcept {
  if (first.where.index() != next.where.index()) return false;
  if (const auto* a = std::get_if<InFile>(&first.where)) {
    const auto& b = std::get<InFile>(next.where);
    return a->child == b.child && a->in_place == b.in_place && a->offset + first.length == b.offset;
  }
  if (const auto* a = std::get_if<ReadsZero>(&first.where)) {
    const auto& b = std::get<ReadsZero>(next.where);
    return a->child == b.child && (a->child == nullptr || a->offset + first.length == b.offset);
  }
  const auto* a = std::get_if<InBacking>(&first.where);
  if (a == nullptr) return false;
  const auto& b = std::get<InBacking>(next.where);
  return a->child == b.child && (a->child == nullptr || a->offset + first.length == b.offset);
}

/// Whether clusters of their own lie behind `mapping`.
bool has_room(const Mapping& mapping) noexcept {
  if (const auto* zero = std::get_if<ReadsZero>(&mapping.where)) return zero->child != nullptr;
  return std::holds_alternative<InFile>(mapping.where);
}

}  // namespace

std::optional<Mapping> Image::map_entry(const ExtendedL2Entry& entry, uint64_t guest,
                                        bool suspicious) const noexcept {
  const EntryRules rules = this->rules();
  const uint64_t in_cluster = guest & (cluster_size() - 1);
  const L2Entry descriptor = entry.descriptor;
  if (descriptor.compressed()) {
    const CompressedLayout layout(header_.cluster_bits);
    if (layout.has_reserved_bits(descriptor.raw) || header_.has_data_file()) return std::nullopt;
    const CompressedExtent extent = layout.decode(descriptor.raw);
    const ByteRange unit{guest - in_cluster, cluster_size()};
    return Mapping{cluster_size() - in_cluster, Encoded{unit, extent.offset, extent.length}};
  }
  if (descriptor.has_reserved_bits(rules)) return std::nullopt;
  const ClusterKind kind = descriptor.kind(rules);
  const bool has_room = kind == ClusterKind::kNormal || kind == ClusterKind::kZeroAllocated;
  const uint64_t host = descriptor.offset();
  if (has_room && !is_aligned(host, cluster_size())) return std::nullopt;
  if (has_room && data_file_ != nullptr && host != guest - in_cluster) return std::nullopt;
  // Without its data file (metadata only), an image can still say what it has.
  Child* child = has_room ? &data_child() : nullptr;
  const uint64_t offset = has_room ? host + in_cluster : 0;
  // Until the first change has been announced (begin_writing()), nothing is changed in place.
  const bool in_place =
      descriptor.copied() && !suspicious && started_writing_.load(std::memory_order_relaxed);
  const InFile file{child, offset, in_place};
  const ReadsZero zero{child, offset};
  if (!rules.extended) {
    const uint64_t length = cluster_size() - in_cluster;
    if (kind == ClusterKind::kNormal) return Mapping{length, file};
    if (has_room || kind == ClusterKind::kZeroPlain) return Mapping{length, zero};
    return Mapping{length, InBacking{}};
  }
  const uint64_t unit = header_.subcluster_size();
  const auto first = static_cast<unsigned>(in_cluster / unit);
  const SubclusterKind what = entry.subcluster(first, rules);
  unsigned last = first + 1;
  while (last < kSubclusters && entry.subcluster(last, rules) == what) ++last;
  const uint64_t length = last * unit - in_cluster;
  switch (what) {
    case SubclusterKind::kNormal:
      return Mapping{length, file};
    case SubclusterKind::kZeroPlain:
    case SubclusterKind::kZeroAllocated:
      return Mapping{length, zero};
    case SubclusterKind::kUnallocated:
    case SubclusterKind::kUnallocatedInRoom:
      return Mapping{length, InBacking{child, offset}};
    case SubclusterKind::kInvalid:
      return std::nullopt;
  }
  return std::nullopt;
}

/// Adds the entries behind `first`, in the same slice, as far as they go on and `guest` wants.
Mapping Image::extend(const L2Slice& slice, ByteRange guest, Mapping first) const noexcept {
  while (first.length < guest.length) {
    const uint64_t at = guest.offset + first.length;
    const size_t index = l2_->index_in_slice(cluster_of(at));
    if (is_aligned(at, cluster_size()) && index == 0) break;
    const ExtendedL2Entry entry = slice.entry(index);
    std::optional<Mapping> next = map_entry(entry, at, slice.suspicious());
    if (!next || !continues(first, *next)) break;
    first.length += next->length;
    if (first.length >= guest.length) break;
    // Most runs are long and uniform: their entries need not be decoded one by one.
    const uint64_t step = has_room(*next) ? cluster_size() : 0;
    const uint64_t most = (guest.length - first.length + cluster_size() - 1) / cluster_size();
    first.length +=
        cluster_size() * slice.run_length(index + 1, entry.descriptor.raw + step, step, most);
  }
  return first;
}

/// Bytes from guest.offset on that no L2 table covers, as far as `guest` wants.
uint64_t Image::empty_l1_length(ByteRange guest) const noexcept {
  const uint64_t coverage = header_.l1_entry_coverage();
  uint64_t index = guest.offset / coverage + 1;
  while (index < l2_->l1_size() && index * coverage < guest.end() && l2_->l1(index).raw == 0)
    ++index;
  return index * coverage - guest.offset;
}

std::optional<Mapping> Image::lookup(ByteRange guest) const noexcept {
  const uint64_t cluster = cluster_of(guest.offset);
  const uint64_t index = l2_->l1_index(cluster);
  if (index >= l2_->l1_size()) return Mapping{guest.length, InBacking{}};
  const L1Entry table = l2_->l1(index);
  if (table.offset() == 0) {
    if (table.has_reserved_bits()) return std::nullopt;
    return Mapping{empty_l1_length(guest), InBacking{}};
  }
  const L2Slice* slice = l2_->find(cluster);
  if (slice == nullptr) return std::nullopt;
  const size_t at = l2_->index_in_slice(cluster);
  std::optional<Mapping> first = map_entry(slice->entry(at), guest.offset, slice->suspicious());
  if (!first) return std::nullopt;
  return extend(*slice, guest, *first);
}

Error Image::corrupt_entry(uint64_t guest, const ExtendedL2Entry& entry) const {
  return Error(ErrorCode::kCorrupt,
               fmt::format(
                   "L2 entry of guest offset {:#x} is {:#x} {:#x}: wants a cluster aligned to "
                   "{:#x} and no reserved bits",
                   guest, entry.descriptor.raw, entry.bitmap.raw, cluster_size()))
      .because("qcow2-l2-entry",
               {fmt::format("{:#x}", entry.descriptor.offset()), fmt::format("{:#x}", guest)});
}

Task<Result<Mapping>> Image::map(ByteRange guest) {
  EpochDomain::Ticket inside = host_.requests().enter();
  if (std::optional<Mapping> known = lookup(guest)) co_return *known;
  const uint64_t cluster = cluster_of(guest.offset);
  const L1Entry table = l2_->l1(l2_->l1_index(cluster));
  if (table.offset() == 0) {
    co_return fail(
        Error(ErrorCode::kCorrupt, fmt::format("L1 entry {} is {:#x}: reserved bits are set",
                                               l2_->l1_index(cluster), table.raw))
            .because("qcow2-l2-offset"));
  }
  Result<L2Slice*> slice = co_await l2_->load(cluster);
  if (!slice) co_return fail(slice.error());
  const ExtendedL2Entry entry = (*slice)->entry(l2_->index_in_slice(cluster));
  std::optional<Mapping> first = map_entry(entry, guest.offset, (*slice)->suspicious());
  if (!first) co_return fail(corrupt_entry(guest.offset, entry));
  co_return extend(**slice, guest, *first);
}

/// Data that was only reserved shows as clusters in use that the host's file system has no room
/// for.
Task<Result<bool>> Image::has_holes_below() {
  int known = holes_below_.load(std::memory_order_relaxed);
  if (known < 0) {
    const std::optional<uint64_t> allocated = file_.allocated_size();
    if (!allocated) co_return false;
    const uint64_t real = *allocated / cluster_size();
    const uint64_t many = std::max(real * 10 / 9, real + 2);
    EpochDomain::Ticket inside = host_.requests().enter();
    Mutex::Guard guard = co_await metadata_.lock();
    Result<uint64_t> used = co_await refcounts_->count_used(many);
    if (!used) co_return fail(used.error());
    known = *used >= many ? 1 : 0;
    holes_below_.store(known, std::memory_order_relaxed);
  }
  co_return known == 1;
}

}  // namespace ashlar::qcow2
