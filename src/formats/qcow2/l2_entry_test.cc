// Tests of L1 and L2 entries as values.
#include "formats/qcow2/l2_entry.h"

#include <gtest/gtest.h>

#include "formats/qcow2/refcount_bits.h"

namespace ashlar::qcow2 {
namespace {

constexpr EntryRules kPlain = {};
constexpr EntryRules kExtended = {.extended = true};
constexpr EntryRules kDataFile = {.has_data_file = true};

TEST(Qcow2L1Entry, KeepsOffsetAndFlag) {
  constexpr L1Entry entry = L1Entry::to(0x50000, kCopiedFlag);
  EXPECT_EQ(entry.raw, 0x8000000000050000u);
  EXPECT_EQ(entry.offset(), 0x50000u);
  EXPECT_TRUE(entry.copied());
  EXPECT_FALSE(entry.has_reserved_bits());
}

TEST(Qcow2L1Entry, FindsEveryReservedBit) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    const bool reserved = bit <= 8 || (bit >= 56 && bit <= 62);
    EXPECT_EQ(L1Entry{uint64_t{1} << bit}.has_reserved_bits(), reserved) << bit;
  }
}

TEST(Qcow2L2Entry, TellsKindsApart) {
  EXPECT_EQ(L2Entry{0}.kind(kPlain), ClusterKind::kUnallocated);
  EXPECT_EQ(L2Entry::zero_plain().kind(kPlain), ClusterKind::kZeroPlain);
  EXPECT_EQ(L2Entry::zero_allocated(0x70000, kCopiedFlag).kind(kPlain),
            ClusterKind::kZeroAllocated);
  EXPECT_EQ(L2Entry::normal(0x70000, 0).kind(kPlain), ClusterKind::kNormal);
  EXPECT_EQ(L2Entry{kCompressedFlag | 0x70001}.kind(kPlain), ClusterKind::kCompressed);
}

TEST(Qcow2L2Entry, AllocatesOffsetZeroOnlyInADataFile) {
  constexpr L2Entry entry = L2Entry::normal(0, kCopiedFlag);
  EXPECT_EQ(entry.kind(kDataFile), ClusterKind::kNormal);
  EXPECT_EQ(entry.kind(kPlain), ClusterKind::kUnallocated);
  EXPECT_EQ(L2Entry{0}.kind(kDataFile), ClusterKind::kUnallocated);
}

TEST(Qcow2L2Entry, FindsEveryReservedBit) {
  for (unsigned bit = 0; bit < 62; ++bit) {
    const bool reserved = (bit >= 1 && bit <= 8) || bit >= 56;
    const L2Entry entry{uint64_t{1} << bit};
    EXPECT_EQ(entry.has_reserved_bits(kPlain), reserved) << bit;
    EXPECT_EQ(entry.has_reserved_bits(kExtended), reserved || bit == 0) << bit;
  }
  EXPECT_FALSE(L2Entry{kCompressedFlag | 0x1ff}.has_reserved_bits(kPlain));
}

TEST(Qcow2Compressed, EncodesWhatItDecodes) {
  for (unsigned cluster_bits = 9; cluster_bits <= 21; ++cluster_bits) {
    const CompressedLayout layout(cluster_bits);
    for (uint64_t offset : {uint64_t{0x50000}, uint64_t{0x501ff}, uint64_t{1} << 40}) {
      for (uint64_t length : {uint64_t{1}, uint64_t{512}, (uint64_t{1} << cluster_bits) - 1}) {
        const auto entry = layout.encode({offset, length});
        ASSERT_TRUE(entry) << cluster_bits << " " << offset << " " << length;
        const CompressedExtent decoded = layout.decode(entry->raw);
        EXPECT_EQ(decoded.offset, offset);
        // Rounded up to the end of the last sector, never more.
        EXPECT_GE(decoded.length, length);
        EXPECT_LT(decoded.length, length + 512);
        EXPECT_EQ((decoded.offset + decoded.length) % 512, 0u);
      }
    }
  }
}

TEST(Qcow2Compressed, RefusesWhatDoesNotFit) {
  const CompressedLayout layout(16);
  EXPECT_EQ(layout.max_offset(), (uint64_t{1} << 54) - 1);
  EXPECT_EQ(layout.max_sectors(), 256u);
  EXPECT_FALSE(layout.encode({layout.max_offset() + 1, 1}));
  EXPECT_FALSE(layout.encode({0x50000, 0}));
  EXPECT_TRUE(layout.encode({0x50000, 256 * 512}));
  EXPECT_FALSE(layout.encode({0x50001, 256 * 512}));
  EXPECT_FALSE(layout.encode({0x50000, ~uint64_t{0}}));
}

TEST(Qcow2Compressed, FindsReservedBitsOfTheOffset) {
  EXPECT_TRUE(CompressedLayout(9).has_reserved_bits(uint64_t{1} << 56));
  EXPECT_FALSE(CompressedLayout(9).has_reserved_bits(uint64_t{1} << 55));
  EXPECT_FALSE(CompressedLayout(16).has_reserved_bits(uint64_t{1} << 56));  // sector count
}

TEST(Qcow2ExtendedL2, TellsSubclustersApart) {
  const auto kind = [](L2Entry descriptor, uint32_t allocated, uint32_t zero) {
    const ExtendedL2Entry entry = {descriptor, SubclusterBitmap::of(allocated, zero)};
    return entry.subcluster(3, kExtended);
  };
  constexpr L2Entry room = L2Entry::normal(0x70000, kCopiedFlag);
  constexpr L2Entry none{0};
  EXPECT_EQ(kind(none, 0, 0), SubclusterKind::kUnallocated);
  EXPECT_EQ(kind(room, 0xfff7, 0), SubclusterKind::kUnallocatedInRoom);
  EXPECT_EQ(kind(room, 8, 0), SubclusterKind::kNormal);
  EXPECT_EQ(kind(none, 0, 8), SubclusterKind::kZeroPlain);
  EXPECT_EQ(kind(room, 0, 8), SubclusterKind::kZeroAllocated);
  EXPECT_EQ(kind(none, 8, 0), SubclusterKind::kInvalid);
  EXPECT_EQ(kind(room, 8, 8), SubclusterKind::kInvalid);
  EXPECT_TRUE(SubclusterBitmap::of(8, 12).contradicts_itself());
  EXPECT_FALSE(SubclusterBitmap::of(8, 4).contradicts_itself());
}

TEST(Qcow2RefcountBits, KeepNeighboursOfEveryWidth) {
  for (unsigned order = 0; order <= 6; ++order) {
    std::vector<std::byte> block(512, std::byte{0xff});
    const uint64_t entries = block.size() * 8 >> order;
    set_refcount(block, 5, order, 0);
    EXPECT_EQ(get_refcount(block, 4, order), max_refcount(order));
    EXPECT_EQ(get_refcount(block, 5, order), 0u);
    EXPECT_EQ(get_refcount(block, 6, order), max_refcount(order));
    set_refcount(block, entries - 1, order, 1);
    EXPECT_EQ(get_refcount(block, entries - 1, order), 1u);
    set_refcount(block, 5, order, max_refcount(order));
    EXPECT_EQ(get_refcount(block, 5, order), max_refcount(order));
  }
}

TEST(Qcow2RefcountBits, FollowTheOrderOfTheFormat) {
  std::vector<std::byte> block(8);
  set_refcount(block, 1, 0, 1);  // narrow ones: from the least significant bit
  EXPECT_EQ(block[0], std::byte{0x02});
  set_refcount(block, 1, 2, 0xa);
  EXPECT_EQ(block[0], std::byte{0xa2});
  set_refcount(block, 1, 4, 0x1234);  // wide ones: big-endian
  EXPECT_EQ(block[2], std::byte{0x12});
  EXPECT_EQ(block[3], std::byte{0x34});
}

}  // namespace
}  // namespace ashlar::qcow2
