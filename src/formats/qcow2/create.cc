// Creating qcow2 images: header, refcounts and tables are written directly and in bulk.
#include "formats/qcow2/create.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "base/endian.h"
#include "formats/qcow2/create_options.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/l2_entry.h"
#include "formats/qcow2/layout.h"
#include "formats/qcow2/refcount_bits.h"

namespace ashlar::qcow2 {
namespace {

constexpr uint64_t kL1PieceEntries = 64_KiB / 8;

/// Everything about the new image that is known before a file exists.
struct Plan {
  Header header;
  Preallocation preallocation;
  LayoutRequest request;
  Layout layout;
};

Result<Plan> make_plan(OptionDict options) {
  auto asked = read_create_options(std::move(options));
  if (!asked) return fail(asked.error());
  Header& header = asked->header;
  LayoutRequest request;
  if (asked->preallocation != Preallocation::kOff) {
    const bool in_bulk = asked->preallocation != Preallocation::kMetadata;
    request.shape = in_bulk && !header.data_file ? LayoutShape::kBulk : LayoutShape::kInterleaved;
    request.l2_tables = header.l1_size;
    if (!header.data_file) {
      request.data_clusters = divide_up(header.size, header.cluster_size());
    }
  }
  auto layout = Layout::plan(header, request);
  if (!layout) return fail(layout.error());
  header.l1_table_offset = layout->l1_table() * header.cluster_size();
  header.refcount_table_offset = layout->refcount_table() * header.cluster_size();
  header.refcount_table_clusters = static_cast<uint32_t>(layout->refcount_table_clusters());
  return Plan{std::move(header), asked->preallocation, request, std::move(*layout)};
}

/// Sets the first `count` entries of a zeroed refcount block to 1.
void fill_with_ones(std::span<std::byte> block, unsigned order, uint64_t count) {
  const uint64_t per_word = 64 >> order;
  std::array<std::byte, 8> word{};
  for (uint64_t i = 0; i < per_word; ++i) set_refcount(word, i, order, 1);
  const uint64_t words = count / per_word;
  for (uint64_t i = 0; i < words; ++i) std::memcpy(block.data() + i * 8, word.data(), 8);
  for (uint64_t i = words * per_word; i < count; ++i) set_refcount(block, i, order, 1);
}

/// Writes the parts of one image.
class ImageWriter {
 public:
  ImageWriter(Child& file, const Plan& plan)
      : file_(file), plan_(plan), buffer_(plan.header.cluster_size()) {}

  Task<Result<void>> write_all();

 private:
  uint64_t offset_of(uint64_t cluster) const { return cluster << plan_.header.cluster_bits; }
  bool reads_as_zeroes() const { return file_.info().fresh == NodeInfo::Fresh::kZeroes; }
  Task<Result<void>> write_at(uint64_t offset, std::span<const std::byte> bytes) {
    const ByteRange range = {offset, bytes.size()};
    const ConstBuffers from(bytes);
    return file_.write(range, from);
  }

  Task<Result<void>> write_header();
  Task<Result<void>> write_refcount_table();
  Task<Result<void>> write_refcount_blocks();
  Task<Result<void>> write_empty_l1();
  Task<Result<void>> write_mapping();
  void fill_l2(uint64_t index, TablePlace place);

  Child& file_;
  const Plan& plan_;
  std::vector<std::byte> buffer_;  // one cluster
};

Task<Result<void>> ImageWriter::write_header() {
  auto bytes = encode_header(plan_.header);
  if (!bytes) co_return fail(bytes.error());
  // The cluster as a whole: nothing else may be in it, and it has room for what is added later.
  bytes->resize(plan_.header.cluster_size());
  co_return co_await write_at(0, *bytes);
}

Task<Result<void>> ImageWriter::write_refcount_table() {
  const auto& blocks = plan_.layout.refcount_blocks();
  const uint64_t entries_per_cluster = buffer_.size() / 8;
  for (uint64_t i = 0; i < plan_.layout.refcount_table_clusters(); ++i) {
    std::ranges::fill(buffer_, std::byte{0});
    for (uint64_t j = 0; j < entries_per_cluster; ++j) {
      const uint64_t index = i * entries_per_cluster + j;
      if (index >= blocks.size()) break;
      store_be(buffer_.data() + j * 8, offset_of(blocks[index]));
    }
    const uint64_t offset = offset_of(plan_.layout.refcount_table() + i);
    if (auto done = co_await write_at(offset, buffer_); !done) co_return done;
  }
  co_return ok();
}

Task<Result<void>> ImageWriter::write_refcount_blocks() {
  const Layout& layout = plan_.layout;
  const uint64_t per_block = plan_.header.refcounts_per_block();
  const unsigned order = plan_.header.refcount_order;
  for (uint64_t i = 0; i < layout.refcount_blocks().size(); ++i) {
    if (layout.refcount_blocks()[i] == 0) continue;
    std::ranges::fill(buffer_, std::byte{0});
    const uint64_t first = i * per_block;
    const uint64_t end = std::min(first + per_block, layout.end());
    if (end > first) fill_with_ones(buffer_, order, end - first);
    for (uint64_t free = std::max(first, layout.free_from()); free < layout.free_end(); ++free) {
      if (free < end) set_refcount(buffer_, free - first, order, 0);
    }
    const uint64_t offset = offset_of(layout.refcount_blocks()[i]);
    if (auto done = co_await write_at(offset, buffer_); !done) co_return done;
  }
  co_return ok();
}

Task<Result<void>> ImageWriter::write_empty_l1() {
  if (plan_.header.l1_size == 0 || reads_as_zeroes()) co_return ok();
  const ByteRange table = {plan_.header.l1_table_offset, plan_.header.l1_bytes()};
  co_return co_await file_.write_zeroes(table);
}

/// One L2 table that maps every cluster up to the end of the disk.
void ImageWriter::fill_l2(uint64_t index, TablePlace place) {
  const Header& header = plan_.header;
  const uint64_t first = index * header.l2_entries();
  const uint64_t all = divide_up(header.size, header.cluster_size());
  const uint64_t count = std::min(header.l2_entries(), all - first);
  std::ranges::fill(buffer_, std::byte{0});
  // Extended entries keep an empty bitmap: there is room, and reading gives the layer below.
  for (uint64_t j = 0; j < count; ++j) {
    const uint64_t host = header.data_file ? first + j : place.data + j;
    const L2Entry entry = L2Entry::normal(offset_of(host), kCopiedFlag);
    store_be(buffer_.data() + j * header.l2_entry_bytes(), entry.raw);
  }
}

Task<Result<void>> ImageWriter::write_mapping() {
  Layout::Tables tables = plan_.layout.tables();
  std::vector<std::byte> l1;
  uint64_t l1_at = plan_.header.l1_table_offset;
  for (uint64_t i = 0; i < plan_.request.l2_tables; ++i) {
    const TablePlace place = tables.next();
    fill_l2(i, place);
    if (auto done = co_await write_at(offset_of(place.table), buffer_); !done) co_return done;
    l1.resize(l1.size() + 8);
    store_be(l1.data() + l1.size() - 8, L1Entry::to(offset_of(place.table), kCopiedFlag).raw);
    if (l1.size() < kL1PieceEntries * 8 && i + 1 < plan_.request.l2_tables) continue;
    if (auto done = co_await write_at(l1_at, l1); !done) co_return done;
    l1_at += l1.size();
    l1.clear();
  }
  co_return ok();
}

Task<Result<void>> ImageWriter::write_all() {
  if (auto done = co_await write_refcount_table(); !done) co_return done;
  if (auto done = co_await write_refcount_blocks(); !done) co_return done;
  if (plan_.request.l2_tables == 0) {
    if (auto done = co_await write_empty_l1(); !done) co_return done;
  } else {
    if (auto done = co_await write_mapping(); !done) co_return done;
  }
  // What is not finished must not look like an image.
  if (auto done = co_await write_header(); !done) co_return done;
  co_return co_await file_.flush();
}

Task<Result<void>> create_data_file(CreateContext& context, const Plan& plan) {
  const bool fill =
      plan.preallocation == Preallocation::kFalloc || plan.preallocation == Preallocation::kFull;
  // Clusters that are mapped exist as a whole.
  const uint64_t unit =
      plan.preallocation == Preallocation::kOff ? 1 : plan.header.subcluster_size();
  const uint64_t size = align_up(plan.header.size, unit);
  const uint64_t at_first = fill ? 0 : size;
  const auto file = co_await context.create_other(*plan.header.data_file, at_first);
  if (!file) co_return fail(file.error());
  if (!fill) co_return ok();
  ResizeFlags flags;
  flags.preallocation = plan.preallocation;
  co_return co_await (*file)->resize(size, flags);
}

}  // namespace

Task<Result<void>> create(CreateContext& context, OptionDict options) {
  const auto plan = make_plan(std::move(options));
  if (!plan) co_return fail(plan.error());
  // Before any file is touched: the names must fit.
  if (const auto bytes = encode_header(plan->header); !bytes) co_return fail(bytes.error());
  const uint64_t bytes = plan->layout.file_bytes(plan->header);
  const bool in_bulk = plan->request.shape == LayoutShape::kBulk;
  const Preallocation mode = in_bulk ? plan->preallocation : Preallocation::kOff;
  const auto file = co_await context.create_file(bytes, mode);
  if (!file) co_return fail(file.error());
  if (plan->header.data_file) {
    if (auto done = co_await create_data_file(context, *plan); !done) co_return done;
  }
  ImageWriter writer(**file, *plan);
  co_return co_await writer.write_all();
}

std::vector<OptionDescription> create_option_rows() { return describe_options<CreateOptions>(); }

}  // namespace ashlar::qcow2
