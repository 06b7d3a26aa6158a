// The builder of qcow2 images. Specification: docs/interop/qcow2.rst.
#include "testing/qcow2_builder.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cassert>
#include <string_view>

namespace ashlar {

namespace {

constexpr uint64_t kCopied = uint64_t{1} << 63;
constexpr uint64_t kCompressed = uint64_t{1} << 62;
constexpr uint64_t kZero = 1;
constexpr uint64_t kAllAllocated = 0xffff'ffff;
constexpr uint64_t kAllZero = uint64_t{0xffff'ffff} << 32;
constexpr uint64_t kOffset = 0x00ff'ffff'ffff'fe00;

std::vector<std::byte> deflated(std::span<const std::byte> content) {
  std::vector<std::byte> out(content.size() * 2 + 1024);
  z_stream stream = {};
  // Raw, with the small window that every reader has.
  [[maybe_unused]] int status =
      deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY);
  assert(status == Z_OK);
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  status = deflate(&stream, Z_FINISH);
  assert(status == Z_STREAM_END);
  out.erase(out.begin() + static_cast<ptrdiff_t>(stream.total_out), out.end());
  deflateEnd(&stream);
  return out;
}

}  // namespace

std::string Qcow2Shape::describe() const {
  return fmt::format(
      "version {}, clusters of {}, {}-bit refcounts, {} entries, {} data, {}, {} bytes", version,
      cluster_size(), 1u << refcount_order, extended() ? "extended" : "standard",
      data == Data::kInImage    ? "own"
      : data == Data::kExternal ? "external"
                                : "raw external",
      backing == Backing::kNamed ? "backing file" : "no backing file", size);
}

Qcow2Builder::Qcow2Builder(const Qcow2Shape& shape) : shape_(shape), l1_(shape.l1_entries()) {
  take_clusters(1);  // the header
  refcount_table_ = take_clusters(shape.refcount_table_clusters);
  const uint64_t l1_bytes = l1_.size() * 8;
  l1_offset_ = take_clusters((l1_bytes + shape.cluster_size() - 1) / shape.cluster_size());
  if (shape.external()) data_file_.resize(shape.size);
}

/// Offset of `count` clusters next to each other, each with one user.
uint64_t Qcow2Builder::take_clusters(uint64_t count) {
  const uint64_t first = next_;
  next_ += count;
  for (uint64_t cluster = first; cluster < next_; ++cluster) counts_[cluster] = 1;
  return first << shape_.cluster_bits;
}

void Qcow2Builder::write_be(uint64_t offset, uint64_t value, unsigned bytes) {
  std::byte raw[8];
  for (unsigned i = 0; i < bytes; ++i) {
    raw[i] = static_cast<std::byte>(value >> (8 * (bytes - 1 - i)));
  }
  file_.write(offset, std::span(raw, bytes));
}

uint64_t Qcow2Builder::read_be64(uint64_t offset) const {
  std::byte raw[8];
  file_.read(offset, raw);
  uint64_t value = 0;
  for (std::byte one : raw) value = value << 8 | std::to_integer<uint64_t>(one);
  return value;
}

uint64_t Qcow2Builder::entry_offset(uint64_t guest) {
  uint64_t& table = l1_.at(guest / shape_.l2_entries());
  if (table == 0) table = take_clusters(1) | kCopied;
  assert((table & kCopied) != 0);  // a table that a snapshot shares is not changed
  return (table & kOffset) + guest % shape_.l2_entries() * shape_.entry_bytes();
}

void Qcow2Builder::put_entry(uint64_t guest, uint64_t descriptor, uint64_t bitmap) {
  const uint64_t at = entry_offset(guest);
  assert(read_be64(at) == 0);
  write_be(at, descriptor, 8);
  if (shape_.extended()) write_be(at + 8, bitmap, 8);
}

uint64_t Qcow2Builder::data_offset(uint64_t guest) {
  return shape_.external() ? guest << shape_.cluster_bits : take_clusters(1);
}

void Qcow2Builder::add_normal(uint64_t guest, std::span<const std::byte> content) {
  assert(content.size() == shape_.cluster_size());
  entry_offset(guest);  // the table lies in front of its data
  const uint64_t host = data_offset(guest);
  (shape_.external() ? data_file_ : file_).write(host, content);
  put_entry(guest, host | kCopied, kAllAllocated);
}

void Qcow2Builder::add_zero(uint64_t guest) {
  assert(shape_.version >= 3);
  put_entry(guest, shape_.extended() ? 0 : kZero, kAllZero);
}

void Qcow2Builder::add_zero_with_room(uint64_t guest, std::span<const std::byte> stale) {
  assert(shape_.version >= 3 && stale.size() == shape_.cluster_size());
  entry_offset(guest);
  const uint64_t host = data_offset(guest);
  (shape_.external() ? data_file_ : file_).write(host, stale);
  put_entry(guest, host | kCopied | (shape_.extended() ? 0 : kZero), kAllZero);
}

void Qcow2Builder::add_compressed(uint64_t guest, std::span<const std::byte> content) {
  assert(content.size() == shape_.cluster_size() && !shape_.external());
  entry_offset(guest);
  const std::vector<std::byte> bytes = deflated(content);
  assert(bytes.size() <= shape_.cluster_size());
  const uint64_t size = shape_.cluster_size();
  const uint64_t used = compressed_end_ % size;
  const uint64_t most_users = shape_.refcount_order == 6
                                  ? ~uint64_t{0}
                                  : (uint64_t{1} << (1u << shape_.refcount_order)) - 1;
  uint64_t& users = counts_[compressed_end_ / size];
  if (used != 0 && used + bytes.size() <= size &&
      users < most_users / 2) {  // leaves room for a snapshot
    ++users;
  } else {
    compressed_end_ = take_clusters(1);
  }
  file_.write(compressed_end_, bytes);
  const unsigned shift = 62 - (shape_.cluster_bits - 8);
  const uint64_t sectors = (compressed_end_ % 512 + bytes.size() - 1) / 512;
  put_entry(guest, kCompressed | sectors << shift | compressed_end_, 0);
  compressed_end_ += bytes.size();
}

void Qcow2Builder::take_snapshot() {
  assert(snapshot_l1_ == 0 && shape_.refcount_order > 0 && !shape_.external());
  const uint64_t size = shape_.cluster_size();
  snapshot_l1_ = take_clusters((l1_.size() * 8 + size - 1) / size);
  share_tables();
  for (size_t i = 0; i < l1_.size(); ++i) write_be(snapshot_l1_ + i * 8, l1_[i], 8);
  snapshot_table_ = take_clusters(1);
  write_snapshot_table();
  compressed_end_ = 0;
}

/// One more user of every table and of everything they map.
void Qcow2Builder::share_tables() {
  const unsigned shift = 62 - (shape_.cluster_bits - 8);
  for (uint64_t& table : l1_) {
    if (table == 0) continue;
    table &= ~kCopied;
    ++counts_[table >> shape_.cluster_bits];
    for (uint64_t i = 0; i < shape_.l2_entries(); ++i) {
      const uint64_t at = table + i * shape_.entry_bytes();
      const uint64_t entry = read_be64(at);
      if (entry & kCompressed) {
        const uint64_t offset = entry & ((uint64_t{1} << shift) - 1);
        ++counts_[offset >> shape_.cluster_bits];  // none of the builder's crosses into the next
      } else if ((entry & kOffset) != 0) {
        ++counts_[(entry & kOffset) >> shape_.cluster_bits];
        write_be(at, entry & ~kCopied, 8);
      }
    }
  }
}

void Qcow2Builder::write_snapshot_table() {
  const uint64_t at = snapshot_table_;
  write_be(at, snapshot_l1_, 8);
  write_be(at + 8, l1_.size(), 4);
  write_be(at + 12, 1, 2);   // length of the id
  write_be(at + 14, 1, 2);   // length of the name
  write_be(at + 36, 24, 4);  // length of the extra data
  write_be(at + 40, 0, 8);   // state of the guest's memory
  write_be(at + 48, shape_.size, 8);
  write_be(at + 56, ~uint64_t{0}, 8);  // no instruction count
  write_be(at + 64, '1', 1);
  write_be(at + 65, 's', 1);
}

void Qcow2Builder::write_refcounts() {
  const uint64_t size = shape_.cluster_size();
  const uint64_t per_block = size * 8 >> shape_.refcount_order;
  // A block may itself need a further block to be counted in.
  std::map<uint64_t, uint64_t> blocks;
  for (uint64_t index = 0; index * per_block < next_; ++index) blocks[index] = take_clusters(1);
  assert(blocks.size() <= shape_.refcount_table_clusters * size / 8);
  for (const auto& [index, block] : blocks) write_be(refcount_table_ + index * 8, block, 8);
  for (const auto& [cluster, count] : counts_) {
    if (count == 0) continue;
    const uint64_t block = blocks.at(cluster / per_block);
    const uint64_t bit = cluster % per_block << shape_.refcount_order;
    if (shape_.refcount_order >= 3) {
      write_be(block + bit / 8, count, 1u << (shape_.refcount_order - 3));
      continue;
    }
    std::byte old[1];
    file_.read(block + bit / 8, old);
    old[0] |= static_cast<std::byte>(count << bit % 8);
    file_.write(block + bit / 8, old);
  }
}

void Qcow2Builder::write_extensions() {
  uint64_t at = shape_.version >= 3 ? 112 : 72;
  const auto add = [&](uint32_t type, std::string_view text) {
    write_be(at, type, 4);
    write_be(at + 4, text.size(), 4);
    file_.write(at + 8, std::as_bytes(std::span(text)));
    at += 8 + (text.size() + 7) / 8 * 8;
  };
  if (shape_.backing == Qcow2Shape::Backing::kNamed) add(0xe2792aca, "raw");
  if (shape_.external()) add(0x44415441, "data");
  at += 8;  // the end of the extensions is all zeroes
  if (shape_.backing == Qcow2Shape::Backing::kNone) return;
  constexpr std::string_view kName = "base";
  write_be(8, at, 8);
  write_be(16, kName.size(), 4);
  file_.write(at, std::as_bytes(std::span(kName)));
}

void Qcow2Builder::write_header() {
  const uint64_t incompatible = (shape_.external() ? 4 : 0) | (shape_.extended() ? 16 : 0);
  write_be(0, 0x514649fb, 4);
  write_be(4, shape_.version, 4);
  write_be(20, shape_.cluster_bits, 4);
  write_be(24, shape_.size, 8);
  write_be(36, l1_.size(), 4);
  write_be(40, l1_offset_, 8);
  write_be(48, refcount_table_, 8);
  write_be(56, shape_.refcount_table_clusters, 4);
  write_be(60, snapshot_table_ != 0 ? 1 : 0, 4);
  write_be(64, snapshot_table_, 8);
  if (shape_.version < 3) {
    assert(shape_.refcount_order == 4 && incompatible == 0);
    return;
  }
  write_be(72, incompatible, 8);
  write_be(88, shape_.data == Qcow2Shape::Data::kRawExternal ? 2 : 0, 8);
  write_be(96, shape_.refcount_order, 4);
  write_be(100, 112, 4);
}

SparseBytes Qcow2Builder::finish() {
  for (size_t i = 0; i < l1_.size(); ++i) write_be(l1_offset_ + i * 8, l1_[i], 8);
  write_refcounts();
  write_header();
  write_extensions();
  if (file_.size() < next_ << shape_.cluster_bits) file_.resize(next_ << shape_.cluster_bits);
  return file_;
}

}  // namespace ashlar
