// Tests of the tables of snapshots and bitmaps.
#include "formats/qcow2/snapshot_table.h"

#include <gtest/gtest.h>

#include "ashlar/loop.h"
#include "formats/qcow2/bitmap_directory.h"
#include "testing/memory_child.h"

namespace ashlar::qcow2 {
namespace {

using ashlar::testing::MemoryChild;

constexpr uint64_t kTableAt = 0x40000;

class Qcow2Tables : public ::testing::Test {
 protected:
  Qcow2Tables() {
    header_.size = 4_MiB;
    header_.l1_size = 1;
    header_.snapshots_offset = kTableAt;
    header_.autoclear_features = autoclear::kBitmaps;
  }

  Result<SnapshotTable> read(uint32_t count, TableDamage damage = TableDamage::kRefuse) {
    header_.snapshot_count = count;
    return sync_wait(*runtime_, read_snapshot_table(file_, header_, damage));
  }
  std::string_view reason(uint32_t count) {
    const auto table = read(count);
    return table ? "accepted" : table.error().reason();
  }
  void put_snapshots(std::span<const Snapshot> snapshots) {
    const auto bytes = encode_snapshot_table(snapshots, header_.size);
    ASSERT_TRUE(bytes);
    file_.put(kTableAt, *bytes);
  }

  /// Stores `bitmaps` and reads them back.
  Result<std::vector<BitmapEntry>> reread(std::span<const BitmapEntry> bitmaps) {
    const auto bytes = encode_bitmap_directory(header_, bitmaps);
    EXPECT_TRUE(bytes);
    file_.put(kTableAt, *bytes);
    header_.bitmaps = {static_cast<uint32_t>(bitmaps.size()), 0, bytes->size(), kTableAt};
    return read_bitmaps();
  }
  Result<std::vector<BitmapEntry>> read_bitmaps() {
    return sync_wait(*runtime_, read_bitmap_directory(file_, header_));
  }
  std::string_view bitmap_reason() {
    const auto bitmaps = read_bitmaps();
    return bitmaps ? "accepted" : bitmaps.error().reason();
  }

  std::unique_ptr<Runtime> runtime_ = Runtime::create();
  MemoryChild file_;
  Header header_;
};

Snapshot sample_snapshot() {
  return {.l1_table_offset = 0x30000,
          .l1_size = 1,
          .id = "1",
          .name = "before the update",
          .date_seconds = 1700000000,
          .date_nanoseconds = 5,
          .vm_clock_ns = 77,
          .vm_state_size = uint64_t{5} << 32,
          .disk_size = 4_MiB,
          .instruction_count = 9,
          .unknown_extra = {}};
}

BitmapEntry sample_bitmap() {
  return {.table_offset = 0x50000, .table_size = 1, .flags = bitmap_flag::kAuto, .name = "daily"};
}

TEST_F(Qcow2Tables, ReadBackSnapshots) {
  std::vector<Snapshot> snapshots = {sample_snapshot(), sample_snapshot()};
  snapshots[1].name = std::string(65535, 'n');
  snapshots[1].instruction_count.reset();
  snapshots[1].unknown_extra = {std::byte{7}};
  snapshots[1].stored_extra_size = 25;
  put_snapshots(snapshots);
  const auto table = read(2);
  ASSERT_TRUE(table) << table.error().message();
  EXPECT_EQ(table->snapshots, snapshots);
  EXPECT_EQ(align_up(table->bytes, 8), encode_snapshot_table(snapshots, 0)->size());
}

TEST_F(Qcow2Tables, ReadSnapshotsOfOldImages) {
  put_snapshots(std::array{sample_snapshot()});
  file_.put_be32(kTableAt + 36, 0);  // no extra data: the id follows at once
  file_.put_be32(kTableAt + 32, 1234);
  const auto table = read(1);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->snapshots[0].vm_state_size, 1234u);
  EXPECT_EQ(table->snapshots[0].disk_size, std::nullopt);
  EXPECT_EQ(table->snapshots[0].info(4_MiB).disk_size, 4_MiB);
}

TEST_F(Qcow2Tables, BoundTheExtraDataOfSnapshots) {
  put_snapshots(std::array{sample_snapshot()});
  file_.put_be32(kTableAt + 36, 1024);
  EXPECT_EQ(reason(1), "accepted");
  for (uint32_t size : {1025u, ~0u}) {
    file_.put_be32(kTableAt + 36, size);
    EXPECT_EQ(reason(1), "qcow2-snapshot-extra");
    const bool fits = size == 1025;
    const auto cut = read(1, TableDamage::kCut);
    ASSERT_TRUE(cut);
    EXPECT_EQ(cut->snapshots.size(), fits ? 1u : 0u);
    EXPECT_EQ(cut->cut_extra_data, 1u);
    EXPECT_EQ(cut->cut_snapshots, fits ? 0u : 1u);
  }
}

TEST_F(Qcow2Tables, BoundTheTableOfSnapshots) {
  EXPECT_EQ(reason(65537), "qcow2-snapshot-table-size");
  EXPECT_EQ(reason(65536), "accepted");  // entries past the end of the file are empty
  header_.snapshots_offset = 512;
  EXPECT_EQ(reason(1), "qcow2-snapshot-table-offset");
  header_.snapshots_offset = kTableAt;
  std::array<std::byte, kSnapshotEntryBytes> entry{};
  std::fill_n(entry.begin() + 12, 4, std::byte{0xff});
  const uint64_t step = align_up(kSnapshotEntryBytes + 2 * 65535, 8);
  for (uint64_t i = 0; i < 512; ++i) file_.put(kTableAt + i * step, entry);
  EXPECT_EQ(reason(511), "accepted");
  EXPECT_EQ(reason(512), "qcow2-snapshot-table-bytes");
  const auto cut = read(600, TableDamage::kCut);
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->snapshots.size(), 511u);
  EXPECT_EQ(cut->cut_snapshots, 89u);
}

TEST_F(Qcow2Tables, FindL1TablesOfSnapshotsThatCannotBe) {
  const auto reason_of = [this](uint64_t offset, uint32_t size) -> std::string_view {
    Snapshot snapshot = sample_snapshot();
    snapshot.l1_table_offset = offset;
    snapshot.l1_size = size;
    const auto problem = snapshot_l1_problem(snapshot, header_);
    return problem ? problem->reason() : "fine";
  };
  EXPECT_EQ(reason_of(0x30000, 4194304), "fine");
  EXPECT_EQ(reason_of(0x30000, 4194305), "qcow2-snapshot-l1-size");
  EXPECT_EQ(reason_of(0x30200, 1), "qcow2-snapshot-l1-offset");
  EXPECT_EQ(reason_of(~uint64_t{0xffff}, 1), "qcow2-snapshot-l1-offset");
}

TEST_F(Qcow2Tables, ReadBackBitmaps) {
  std::vector<BitmapEntry> bitmaps = {sample_bitmap(), sample_bitmap()};
  bitmaps[1].name = std::string(1023, 'n');
  bitmaps[1].flags = bitmap_flag::kInUse;
  bitmaps[1].granularity_bits = 9;
  const auto read = reread(bitmaps);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, bitmaps);
}

TEST_F(Qcow2Tables, IgnoreBitmapsThatTheImageDoesNotVouchFor) {
  ASSERT_TRUE(reread(std::array{sample_bitmap()}));
  header_.autoclear_features = 0;
  EXPECT_TRUE(read_bitmaps()->empty());
}

TEST_F(Qcow2Tables, RefuseBitmapsOutsideOfTheLimits) {
  struct Field {
    size_t offset;
    std::vector<uint32_t> bad;
  };
  // Big-endian words of an entry: offset, size, flags, type to name size.
  const std::vector<Field> fields = {
      {4, {0x50200, 0}},
      {8, {0, 8193, ~0u}},
      {12, {4, 8, 1u << 31}},
      {16, {0x00100005, 0x02100005, 0x01080005, 0x01200005, 0x01ff0005}}};
  for (const Field& field : fields) {
    for (uint32_t value : field.bad) {
      ASSERT_TRUE(reread(std::array{sample_bitmap()}));
      file_.put_be32(kTableAt + field.offset, value);
      EXPECT_EQ(bitmap_reason(), "qcow2-bitmap-constraints") << field.offset << " " << value;
    }
  }
  ASSERT_TRUE(reread(std::array{sample_bitmap()}));
  file_.put_be32(kTableAt + 20, 8);
  EXPECT_EQ(bitmap_reason(), "qcow2-bitmap-extra");
}

TEST_F(Qcow2Tables, RefuseBitmapDirectoriesThatDoNotAddUp) {
  BitmapEntry other = sample_bitmap();
  other.name = "weekly";
  ASSERT_TRUE(reread(std::array{sample_bitmap(), other}));
  header_.bitmaps->bitmap_count = 1;
  EXPECT_EQ(bitmap_reason(), "qcow2-bitmap-more");
  header_.bitmaps->bitmap_count = 3;
  EXPECT_EQ(bitmap_reason(), "qcow2-bitmap-less");
  header_.bitmaps->directory_size = 60;
  EXPECT_EQ(bitmap_reason(), "qcow2-bitmap-directory");
  header_.bitmaps->directory_size = 0;
  EXPECT_EQ(bitmap_reason(), "qcow2-bitmap-directory-empty");
  const auto twice = reread(std::array{sample_bitmap(), sample_bitmap()});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().reason(), "qcow2-bitmap-twice");
}

TEST_F(Qcow2Tables, HoldBitmapTablesToTheFormat) {
  BitmapEntry bitmap = sample_bitmap();
  const auto reason_of = [&](uint64_t entry) -> std::string_view {
    file_.put_be64(bitmap.table_offset, entry);
    const auto good =
        sync_wait(*runtime_, check_bitmap_tables(file_, header_, std::span(&bitmap, 1)));
    return good ? "accepted" : good.error().reason();
  };
  for (uint64_t entry : {uint64_t{0}, uint64_t{1}, uint64_t{0x60000}}) {
    EXPECT_EQ(reason_of(entry), "accepted") << entry;
  }
  for (uint64_t entry : {uint64_t{2}, uint64_t{0x60001}, uint64_t{0x60200}, uint64_t{1} << 56}) {
    EXPECT_EQ(reason_of(entry), "qcow2-bitmap-table") << entry;
  }
  bitmap.table_size = 2;
  EXPECT_EQ(reason_of(0), "qcow2-bitmap-size");
  bitmap.flags = bitmap_flag::kInUse;
  EXPECT_EQ(reason_of(2), "accepted");
}

TEST_F(Qcow2Tables, PassOnWhatReadingGives) {
  put_snapshots(std::array{sample_snapshot()});
  file_.fail_after(0);
  const auto table = read(1);
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error().code(), ErrorCode::kIo);
}

}  // namespace
}  // namespace ashlar::qcow2
