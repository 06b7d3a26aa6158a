// Tests of creating and measuring qcow2 images. What the peer makes is compared in tests/interop.
#include "formats/qcow2/create.h"

#include <gtest/gtest.h>

#include "ashlar/loop.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/l2_entry.h"
#include "formats/qcow2/measure.h"
#include "formats/qcow2/refcount_bits.h"
#include "testing/memory_child.h"

namespace ashlar::qcow2 {
namespace {

using ashlar::testing::MemoryChild;

/// Keeps what is created in memory.
class MemoryContext final : public CreateContext {
 public:
  Task<Result<Child*>> create_file(uint64_t size, Preallocation preallocation) override {
    file = std::make_unique<MemoryChild>(size);
    mode = preallocation;
    if (fail_after) file->fail_after(*fail_after);
    Child* child = file.get();
    co_return child;
  }
  Task<Result<Child*>> create_other(std::string filename, uint64_t size) override {
    other = std::make_unique<MemoryChild>(size, filename);
    Child* child = other.get();
    co_return child;
  }

  std::unique_ptr<MemoryChild> file;
  std::unique_ptr<MemoryChild> other;
  Preallocation mode = Preallocation::kOff;
  std::optional<uint64_t> fail_after;
};

class Qcow2Create : public ::testing::Test {
 protected:
  Result<void> make(std::string_view options) {
    auto dict = OptionDict::parse_key_value(options);
    EXPECT_TRUE(dict) << options;
    return sync_wait(*runtime_, create(context_, *dict));
  }
  std::string_view refusal(std::string_view options) {
    const auto made = make(options);
    return made ? "created" : made.error().reason();
  }
  Header header() { return *decode_header(context_.file->content({0, 65536})); }
  /// Of the clusters that refcount block `index` counts.
  std::vector<uint64_t> refcounts(uint64_t index) {
    const Header head = header();
    std::vector<uint64_t> counts(head.refcounts_per_block());
    if (index >= head.refcount_table_entries()) return counts;
    const uint64_t block = context_.file->be64(head.refcount_table_offset + index * 8);
    if (block == 0) return counts;
    const auto bytes = context_.file->content({block, head.cluster_size()});
    for (uint64_t i = 0; i < counts.size(); ++i) {
      counts[i] = get_refcount(bytes, i, head.refcount_order);
    }
    return counts;
  }
  /// Every cluster that is mapped or is metadata counts 1, every other one 0.
  void expect_consistent_refcounts();

  std::unique_ptr<Runtime> runtime_ = Runtime::create();
  MemoryContext context_;
};

void Qcow2Create::expect_consistent_refcounts() {
  const Header head = header();
  const MemoryChild& file = *context_.file;
  const uint64_t size = head.cluster_size();
  std::map<uint64_t, int> used = {{0, 1}};
  const auto use = [&](uint64_t offset, uint64_t bytes) {
    for (uint64_t at = 0; at < bytes; at += size) ++used[(offset + at) / size];
  };
  use(head.refcount_table_offset, head.refcount_table_clusters * size);
  use(head.l1_table_offset, head.l1_bytes());
  for (uint64_t i = 0; i < head.refcount_table_entries(); ++i) {
    if (const uint64_t block = file.be64(head.refcount_table_offset + i * 8)) use(block, size);
  }
  for (uint64_t i = 0; i < head.l1_size; ++i) {
    const L1Entry table{file.be64(head.l1_table_offset + i * 8)};
    if (table.offset() == 0) continue;
    use(table.offset(), size);
    for (uint64_t j = 0; j < head.l2_entries(); ++j) {
      const L2Entry entry{file.be64(table.offset() + j * head.l2_entry_bytes())};
      if (entry.offset() != 0 && !head.data_file) use(entry.offset(), size);
    }
  }
  const uint64_t per_block = head.refcounts_per_block();
  for (uint64_t block = 0; block <= file.size() / size / per_block; ++block) {
    const std::vector<uint64_t> counts = refcounts(block);
    for (uint64_t i = 0; i < per_block; ++i) {
      const auto found = used.find(block * per_block + i);
      const int expected = found == used.end() ? 0 : found->second;
      ASSERT_EQ(counts[i], static_cast<uint64_t>(expected)) << "cluster " << block * per_block + i;
    }
  }
}

TEST_F(Qcow2Create, PutsTablesWhereThePeerPutsThem) {
  ASSERT_TRUE(make("size=4M"));
  const Header head = header();
  EXPECT_EQ(head.version, 3u);
  EXPECT_EQ(head.header_length, 112u);
  EXPECT_EQ(head.feature_names, default_feature_names());
  EXPECT_EQ(head.refcount_table_offset, 0x10000u);
  EXPECT_EQ(context_.file->be64(0x10000), 0x20000u);
  EXPECT_EQ(head.l1_table_offset, 0x30000u);
  EXPECT_EQ(head.l1_size, 1u);
  EXPECT_EQ(context_.file->size(), 196616u);
  expect_consistent_refcounts();
}

TEST_F(Qcow2Create, InterleavesPreallocatedTablesWithTheirData) {
  ASSERT_TRUE(make("size=1M,cluster_size=512,preallocation=metadata"));
  EXPECT_EQ(context_.mode, Preallocation::kOff);
  EXPECT_EQ(context_.file->size(), 1071104u);
  EXPECT_EQ(context_.file->be64(header().l1_table_offset), kCopiedFlag | 4 * 512);
  EXPECT_EQ(context_.file->be64(4 * 512), kCopiedFlag | 5 * 512);
  EXPECT_EQ(context_.file->be64(header().refcount_table_offset + 8), 264u * 512);
  expect_consistent_refcounts();
}

TEST_F(Qcow2Create, KeepsDataInOnePieceWhenItIsReserved) {
  for (const char* mode : {"falloc", "full"}) {
    ASSERT_TRUE(make(std::string("size=300k,cluster_size=512,preallocation=") + mode));
    EXPECT_EQ(context_.mode,
              mode == std::string("full") ? Preallocation::kFull : Preallocation::kFalloc);
    EXPECT_EQ(context_.file->size(), 315392u);
    EXPECT_EQ(header().refcount_table_offset, 6u * 512);
    EXPECT_EQ(context_.file->be64(header().l1_table_offset), kCopiedFlag | 512);
    expect_consistent_refcounts();
  }
}

TEST_F(Qcow2Create, CountsEveryClusterOnceWhateverTheWidths) {
  for (const char* options :
       {"size=0", "size=1", "size=16G,cluster_size=512", "size=0,preallocation=full",
        "size=20M,cluster_size=512,preallocation=metadata",
        "size=20M,cluster_size=512,preallocation=falloc",
        "size=3M,cluster_size=1k,refcount_bits=64,preallocation=metadata",
        "size=3M,cluster_size=1k,refcount_bits=1,preallocation=falloc",
        "size=40M,extended_l2=on,preallocation=metadata",
        "size=4M,compat=0.10,preallocation=metadata"}) {
    ASSERT_TRUE(make(options)) << options;
    expect_consistent_refcounts();
  }
}

TEST_F(Qcow2Create, GrowsTheRefcountTableOfLargeImages) {
  // 64 entries of 256 clusters of 512 bytes: one cluster of table is good for 8 MiB.
  ASSERT_TRUE(make("size=100M,cluster_size=512,preallocation=metadata"));
  EXPECT_GT(header().refcount_table_clusters, 1u);
  EXPECT_EQ(header().refcount_table_offset, 512u);
}

TEST_F(Qcow2Create, MapsExternalDataOneToOne) {
  ASSERT_TRUE(make("size=3735763,data_file=df,data_file_raw=on"));
  EXPECT_EQ(context_.other->name(), "df");
  EXPECT_EQ(context_.other->size(), 3801088u);  // whole clusters
  EXPECT_EQ(header().data_file, "df");
  EXPECT_TRUE(header().has_data_file());
  EXPECT_TRUE(header().has_raw_data_file());
  const uint64_t l2 = L1Entry{context_.file->be64(header().l1_table_offset)}.offset();
  EXPECT_EQ(context_.file->be64(l2), kCopiedFlag);
  EXPECT_EQ(context_.file->be64(l2 + 16), kCopiedFlag | 0x20000);
  ASSERT_TRUE(make("size=3735763,data_file=df"));
  EXPECT_EQ(context_.other->size(), 3736064u);  // whole sectors
  EXPECT_EQ(context_.file->size(), 196616u);
}

TEST_F(Qcow2Create, RefusesWhatCannotBe) {
  const std::pair<const char*, const char*> refused[] = {
      {"cluster_size=1000", "qcow2-create-cluster-size"},
      {"cluster_size=256", "qcow2-create-cluster-size"},
      {"cluster_size=4M", "qcow2-create-cluster-size"},
      {"compat=2", "option-choice"},
      {"preallocation=bogus", "option-choice"},
      {"compression_type=lzma", "option-choice"},
      {"compat=0.10,lazy_refcounts=on", "qcow2-create-lazy-refcounts-version"},
      {"compat=0.10,refcount_bits=8", "qcow2-create-refcount-bits-version"},
      {"compat=0.10,extended_l2=on", "qcow2-create-extended-l2-version"},
      {"compat=0.10,data_file=df", "qcow2-create-data-file-version"},
      {"compat=0.10,compression_type=zstd", "qcow2-create-compression-version"},
      {"refcount_bits=3", "qcow2-create-refcount-bits"},
      {"refcount_bits=0", "qcow2-create-refcount-bits"},
      {"refcount_bits=128", "qcow2-create-refcount-bits"},
      {"extended_l2=on,cluster_size=8k", "qcow2-create-extended-l2-cluster-size"},
      {"data_file_raw=on", "qcow2-create-raw-data-file"},
      {"data_file=df,data_file_raw=on,backing_file=b,backing_fmt=raw", "qcow2-create-raw-backing"},
      {"backing_fmt=raw", "qcow2-create-backing-format"},
      {"backing_file=b,preallocation=full", "qcow2-create-backing-preallocation"},
      {"encryption=on", "qcow2-encryption-unsupported"},
      {"encrypt.format=luks", "qcow2-encryption-unsupported"},
      {"bogus=1", "option-unknown"}};
  for (const auto& [options, reason] : refused) {
    EXPECT_EQ(refusal(std::string("size=4M,") + options), reason) << options;
    EXPECT_FALSE(context_.file) << options;
  }
  EXPECT_EQ(refusal("cluster_size=64k"), "create-size-missing");
  EXPECT_EQ(refusal("size=3P"), "qcow2-create-size");
  EXPECT_EQ(refusal("size=129G,cluster_size=512"), "qcow2-create-size");
  EXPECT_EQ(refusal("size=4M,encryption=off"), "created");
}

TEST_F(Qcow2Create, ComplainsInThePeersOrder) {
  EXPECT_EQ(refusal("size=3P,cluster_size=1000,refcount_bits=3"), "qcow2-create-cluster-size");
  EXPECT_EQ(refusal("size=3P,refcount_bits=3,data_file_raw=on"), "qcow2-create-refcount-bits");
  EXPECT_EQ(refusal("size=4M,cluster_size=1000,compression_type=x"), "option-choice");
}

TEST_F(Qcow2Create, LeavesFeatureNamesOutOfSmallClusters) {
  ASSERT_TRUE(make("size=4M,cluster_size=4k"));
  EXPECT_TRUE(header().feature_names.empty());
  ASSERT_TRUE(make("size=4M,cluster_size=8k"));
  EXPECT_FALSE(header().feature_names.empty());
}

TEST_F(Qcow2Create, MakesNoFileForNamesThatDoNotFit) {
  EXPECT_EQ(refusal("size=4M,backing_fmt=raw,backing_file=" + std::string(1024, 'x')),
            "qcow2-header-full");
  EXPECT_EQ(
      refusal("size=4M,cluster_size=512,backing_fmt=raw,backing_file=" + std::string(377, 'x')),
      "qcow2-header-full");
  EXPECT_FALSE(context_.file);
  ASSERT_TRUE(
      make("size=4M,cluster_size=512,backing_fmt=raw,backing_file=" + std::string(376, 'x')));
  EXPECT_EQ(header().backing_file, std::string(376, 'x'));
}

TEST_F(Qcow2Create, LooksLikeNoImageUntilItIsFinished) {
  context_.fail_after = 0;
  for (;; ++*context_.fail_after) {
    const auto made = make("size=4M,cluster_size=4k,preallocation=metadata");
    if (made) break;
    EXPECT_EQ(made.error().code(), ErrorCode::kIo);
    // Only the flush comes after the header.
    const bool finished = decode_header(context_.file->content({0, 4096})).has_value();
    if (!finished) continue;
    context_.file->heal();
    expect_consistent_refcounts();
  }
  EXPECT_GT(*context_.fail_after, 5u);
}

/// A disk with some data.
class Source final : public MeasureSource {
 public:
  uint64_t size() const override { return 10_MiB; }
  Task<Result<Extent>> status(ByteRange range) override {
    Extent extent;
    const uint64_t data = 200_KiB;
    extent.present = true;
    extent.data = range.offset >= data && range.offset < data + 70_KiB;
    extent.zero = !extent.data;
    const uint64_t end = range.offset < data ? data : extent.data ? data + 70_KiB : range.end();
    extent.length = end - range.offset;
    co_return extent;
  }
  bool size_only() const override { return only_size; }
  const Driver* driver() const override { return nullptr; }
  bool only_size = false;
};

TEST_F(Qcow2Create, MeasuresWholeClustersOfData) {
  Source source;
  const auto measured = [&](std::string_view options) {
    return sync_wait(*runtime_, measure(source, *OptionDict::parse_key_value(options)));
  };
  EXPECT_EQ(measured("")->fully_allocated, 10813440u);
  EXPECT_EQ(measured("")->required, 327680u + 2 * 65536);
  EXPECT_EQ(measured("backing_file=b")->required, 10813440u);
  EXPECT_EQ(measured("preallocation=full")->required, 10813440u);
  EXPECT_EQ(measured("")->bitmaps, std::nullopt);
  source.only_size = true;
  EXPECT_EQ(measured("")->required, 327680u);
  EXPECT_EQ(measured("backing_file=b,compat=0.10,lazy_refcounts=on")->required, 327680u);
  EXPECT_EQ(measured("cluster_size=1000").error().reason(), "qcow2-create-cluster-size");
}

}  // namespace
}  // namespace ashlar::qcow2
