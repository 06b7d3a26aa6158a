// Tests of the qcow2 header: what decoding accepts, refuses and keeps.
#include "formats/qcow2/header.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/endian.h"
#include "formats/qcow2/extension_types.h"

namespace ashlar::qcow2 {
namespace {

/// A valid header of a 4 MiB image.
Header sample() {
  Header header;
  header.size = 4_MiB;
  header.l1_size = 1;
  header.l1_table_offset = 0x30000;
  header.refcount_table_offset = 0x10000;
  header.refcount_table_clusters = 1;
  header.later_fields.resize(header.header_length - 105);
  header.feature_names = default_feature_names();
  return header;
}

std::vector<std::byte> encoded(const Header& header) {
  auto bytes = encode_header(header);
  EXPECT_TRUE(bytes) << bytes.error().message();
  return bytes ? *bytes : std::vector<std::byte>(4096);
}

/// The sample with one big-endian field changed.
template <std::unsigned_integral T>
std::vector<std::byte> with_field(size_t offset, T value) {
  auto bytes = encoded(sample());
  store_be(bytes.data() + offset, value);
  return bytes;
}

std::string_view refusal(std::span<const std::byte> bytes) {
  const auto header = decode_header(bytes);
  return header ? "accepted" : header.error().reason();
}

void put_extension(std::vector<std::byte>& bytes, size_t& at, uint32_t type,
                   std::string_view data) {
  bytes.resize(std::max(bytes.size(), align_up(at + 8 + data.size(), 8) + 8));
  store_be(bytes.data() + at, type);
  store_be(bytes.data() + at + 4, static_cast<uint32_t>(data.size()));
  std::memcpy(bytes.data() + at + 8, data.data(), data.size());
  at = align_up(at + 8 + data.size(), 8);
}

/// The sample with these extensions instead of its own.
std::vector<std::byte> with_extensions(
    std::initializer_list<std::pair<uint32_t, std::string_view>> list) {
  Header bare = sample();
  bare.feature_names.clear();
  auto bytes = encoded(bare);
  size_t at = bare.header_length;
  for (const auto& [type, data] : list) put_extension(bytes, at, type, data);
  return bytes;
}

TEST(Qcow2Header, EncodesWhatItDecodes) {
  Header header = sample();
  header.backing_file = "base.img";
  header.backing_format = "raw";
  header.data_file = "data.raw";
  header.incompatible_features = incompatible::kDataFile | incompatible::kCompressionType;
  header.compatible_features = 0x8000000000000001;
  header.autoclear_features = 0x4000000000000001;
  header.compression = CompressionType::kZstd;
  header.bitmaps = BitmapsExtension{2, 0, 64, 0x50000};
  header.unknown_extensions = {{0x11223344, {std::byte{1}, std::byte{2}}}, {0x99, {}}};
  const auto decoded = decode_header(encoded(header));
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(*decoded, header);
}

TEST(Qcow2Header, EncodesVersion2WithoutTheLaterFields) {
  Header header = sample();
  header.version = 2;
  header.header_length = kHeaderLengthV2;
  header.later_fields.clear();
  header.feature_names.clear();
  header.backing_file = "base";
  const auto decoded = decode_header(encoded(header));
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(*decoded, header);
}

TEST(Qcow2Header, KeepsFieldsItDoesNotKnow) {
  Header header = sample();
  header.header_length = 128;
  header.later_fields.assign(128 - 105, std::byte{0});
  header.later_fields[20] = std::byte{0x5a};
  EXPECT_EQ(*decode_header(encoded(header)), header);
}

TEST(Qcow2Header, RefusesFieldsOutsideOfTheirLimits) {
  EXPECT_EQ(refusal(with_field<uint32_t>(0, 0)), "qcow2-magic");
  for (uint32_t version : {0u, 1u, 4u, ~0u})
    EXPECT_EQ(refusal(with_field<uint32_t>(4, version)), "qcow2-version") << version;
  for (uint32_t bits : {0u, 8u, 22u, 31u, 32u, 33u, 63u, 64u, 255u})
    EXPECT_EQ(refusal(with_field<uint32_t>(20, bits)), "qcow2-cluster-bits") << bits;
  EXPECT_EQ(refusal(with_field<uint32_t>(32, 3)), "qcow2-crypt-method");
  for (uint32_t order : {7u, 31u, 255u})
    EXPECT_EQ(refusal(with_field<uint32_t>(96, order)), "qcow2-refcount-order") << order;
  for (uint32_t length : {0u, 71u, 72u, 103u})
    EXPECT_EQ(refusal(with_field<uint32_t>(100, length)), "qcow2-header-short") << length;
  EXPECT_EQ(refusal(with_field<uint32_t>(100, 105)), "qcow2-header-length");
  EXPECT_EQ(refusal(with_field<uint32_t>(100, 65544)), "qcow2-header-long");
}

TEST(Qcow2Header, RefusesTablesThatCannotBe) {
  for (uint64_t offset : {uint64_t{1}, uint64_t{512}, uint64_t{1} << 63, ~uint64_t{65535}}) {
    EXPECT_EQ(refusal(with_field(40, offset)), "qcow2-l1-offset") << offset;
    EXPECT_EQ(refusal(with_field(48, offset)), "qcow2-refcount-table-offset") << offset;
  }
  for (uint32_t entries : {4194305u, 1u << 31, ~0u})
    EXPECT_EQ(refusal(with_field(36, entries)), "qcow2-l1-size") << entries;
  EXPECT_EQ(refusal(with_field(36, 4194304u)), "accepted");
  for (uint32_t clusters : {129u, 1u << 31, ~0u})
    EXPECT_EQ(refusal(with_field(56, clusters)), "qcow2-refcount-table-size") << clusters;
  EXPECT_EQ(refusal(with_field(56, 128u)), "accepted");
}

TEST(Qcow2Header, RefusesSizesThatTheL1TableDoesNotCover) {
  EXPECT_EQ(refusal(with_field(36, 0u)), "qcow2-l1-too-small");
  EXPECT_EQ(refusal(with_field<uint64_t>(24, 512_MiB)), "accepted");
  EXPECT_EQ(refusal(with_field<uint64_t>(24, 512_MiB + 512)), "qcow2-l1-too-small");
  EXPECT_EQ(refusal(with_field<uint64_t>(24, uint64_t{1} << 56)), "qcow2-l1-too-small");
  for (uint64_t size : {uint64_t{1} << 62, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{511}})
    EXPECT_EQ(refusal(with_field(24, size)), "qcow2-size") << size;
}

TEST(Qcow2Header, ShowsGuestsWholeSectors) {
  const auto header = decode_header(with_field<uint64_t>(24, 1023));
  ASSERT_TRUE(header);
  EXPECT_EQ(header->size, 1023u);
  EXPECT_EQ(header->virtual_size(), 512u);
}

TEST(Qcow2Header, NamesUnknownIncompatibleFeatures) {
  Header header = sample();
  header.feature_names.push_back({0, 5, "time travel"});
  header.incompatible_features = 0x60;
  const auto decoded = decode_header(encoded(header));
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(decoded.error().reason(), "qcow2-features-mixed");
  EXPECT_EQ(decoded.error().message(),
            "image needs unsupported features: time travel, unknown incompatible feature 0x40");
}

TEST(Qcow2Header, HoldsTheCompressionTypeToItsBit) {
  EXPECT_EQ(refusal(with_field<uint8_t>(104, 1)), "qcow2-compression-bit-clear");
  EXPECT_EQ(refusal(with_field<uint8_t>(104, 2)), "qcow2-compression-type");
  EXPECT_EQ(refusal(with_field<uint64_t>(72, 8)), "qcow2-compression-bit-set");
}

TEST(Qcow2Header, RefusesExtendedL2EntriesWithSmallClusters) {
  Header header = sample();
  header.incompatible_features = incompatible::kExtendedL2;
  EXPECT_EQ(refusal(encoded(header)), "accepted");
  header.cluster_bits = 13;
  EXPECT_EQ(refusal(encoded(header)), "qcow2-subcluster-size");
}

TEST(Qcow2Header, RefusesBackingNamesOutsideOfTheFirstCluster) {
  const auto with_name = [](uint64_t offset, uint32_t length) {
    auto bytes = encoded(sample());
    bytes.resize(65536);
    store_be(bytes.data() + 8, offset);
    store_be(bytes.data() + 16, length);
    return bytes;
  };
  EXPECT_EQ(refusal(with_name(65537, 0)), "qcow2-backing-offset");
  EXPECT_EQ(refusal(with_name(uint64_t{1} << 40, 4)), "qcow2-backing-offset");
  EXPECT_EQ(refusal(with_name(600, 1023)), "accepted");
  EXPECT_EQ(refusal(with_name(600, 1024)), "qcow2-backing-name-size");
  EXPECT_EQ(refusal(with_name(600, ~0u)), "qcow2-backing-name-size");
  EXPECT_EQ(refusal(with_name(65530, 6)), "accepted");
  EXPECT_EQ(refusal(with_name(65530, 7)), "qcow2-backing-name-size");
}

TEST(Qcow2Header, EndsExtensionsWhereTheBackingNameStarts) {
  auto bytes = with_extensions({{0x1234, "12345678"}});
  store_be(bytes.data() + 8, uint64_t{128});
  EXPECT_EQ(refusal(bytes), "accepted");
  store_be(bytes.data() + 8, uint64_t{127});
  EXPECT_EQ(refusal(bytes), "qcow2-extension-size");
  store_be(bytes.data() + 8, uint64_t{116});
  EXPECT_EQ(refusal(bytes), "qcow2-extension-size");
}

TEST(Qcow2Header, RefusesExtensionsThatContradictTheFormat) {
  using std::string_view;
  const string_view directory("\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0\0\0\5\0\0", 24);
  EXPECT_EQ(refusal(with_extensions({{extension::kBackingFormat, "sixteen letters!"}})),
            "qcow2-backing-format-size");
  EXPECT_EQ(refusal(with_extensions(
                {{extension::kBackingFormat, "raw"}, {extension::kBackingFormat, "qcow2"}})),
            "qcow2-extension-twice");
  EXPECT_EQ(refusal(with_extensions({{0x77, "a"}, {0x77, "b"}})), "accepted");
  EXPECT_EQ(refusal(with_extensions({{extension::kEncryption, string_view("\0\0\0\0\0\5\0\0"
                                                                          "\0\0\0\0\0\0\0\1",
                                                                          16)}})),
            "qcow2-encryption-unexpected");
  EXPECT_EQ(refusal(with_field<uint32_t>(32, 2)), "qcow2-encryption-missing");
  EXPECT_EQ(refusal(with_extensions({{extension::kBitmaps, directory.substr(0, 16)}})),
            "qcow2-bitmaps-size");
  EXPECT_EQ(refusal(with_extensions({{extension::kBitmaps, directory}})), "accepted");
}

TEST(Qcow2Header, ChecksBitmapsOnlyWhenTheImageVouchesForThem) {
  const auto with_bitmaps = [](BitmapsExtension bitmaps, uint64_t autoclear_features) {
    Header header = sample();
    header.bitmaps = bitmaps;
    header.autoclear_features = autoclear_features;
    return refusal(encoded(header));
  };
  const BitmapsExtension good = {1, 0, 32, 0x50000};
  EXPECT_EQ(with_bitmaps(good, 1), "accepted");
  EXPECT_EQ(with_bitmaps({0, 9, 0, 3}, 0), "accepted");
  EXPECT_EQ(with_bitmaps({0, 0, 32, 0x50000}, 1), "qcow2-bitmaps-none");
  EXPECT_EQ(with_bitmaps({65536, 0, 32, 0x50000}, 1), "qcow2-bitmaps-count");
  EXPECT_EQ(with_bitmaps({1, 1, 32, 0x50000}, 1), "qcow2-bitmaps-reserved");
  EXPECT_EQ(with_bitmaps({1, 0, 32, 512}, 1), "qcow2-bitmaps-directory-offset");
  EXPECT_EQ(with_bitmaps({1, 0, 64_MiB, 0x50000}, 1), "qcow2-bitmaps-directory-size");
  EXPECT_EQ(with_bitmaps({1, 0, uint64_t{1} << 63, 0x50000}, 1), "qcow2-bitmaps-directory-size");
}

TEST(Qcow2Header, CutsNamesAtTheFirstNul) {
  Header header = sample();
  header.backing_file = std::string("ba\0se", 5);
  EXPECT_EQ(decode_header(encoded(header))->backing_file, "ba");
}

TEST(Qcow2Header, ReadsHeadersOfFilesShorterThanACluster) {
  const auto bytes = encoded(sample());
  for (size_t size : {104, 111, 112, 600}) {
    EXPECT_EQ(refusal(std::span(bytes).first(size)), "accepted") << size;
  }
  for (size_t size : {0, 3, 71, 103}) {
    EXPECT_NE(refusal(std::span(bytes).first(size)), "accepted") << size;
  }
}

TEST(Qcow2Header, RefusesToEncodeMoreThanACluster) {
  Header header = sample();
  header.cluster_bits = 9;
  header.backing_file = std::string(100, 'x');
  const auto bytes = encode_header(header);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().reason(), "qcow2-header-full");
  header.backing_file.clear();
  EXPECT_EQ(encode_header(header)->size(), 512u);
}

TEST(Qcow2Header, LeavesToEachPurposeWhatItMayUse) {
  const auto reason = [](const Header& header, Purpose purpose) -> std::string_view {
    const auto allowed = check_purpose(header, purpose, 1_MiB);
    return allowed ? "allowed" : allowed.error().reason();
  };
  Header header = sample();
  header.incompatible_features = incompatible::kCorrupt;
  EXPECT_EQ(reason(header, Purpose::kRead), "allowed");
  EXPECT_EQ(reason(header, Purpose::kWrite), "qcow2-corrupt");
  EXPECT_EQ(reason(header, Purpose::kCheck), "allowed");
  header = sample();
  header.refcount_table_clusters = 0;
  EXPECT_EQ(reason(header, Purpose::kInspect), "qcow2-no-refcount-table");
  EXPECT_EQ(reason(header, Purpose::kCheck), "allowed");
  header = sample();
  header.snapshot_count = 65537;
  EXPECT_EQ(reason(header, Purpose::kRead), "qcow2-snapshot-table-size");
  header.snapshot_count = 65536;
  EXPECT_EQ(reason(header, Purpose::kRead), "allowed");
  header.snapshots_offset = 512;
  EXPECT_EQ(reason(header, Purpose::kRead), "qcow2-snapshot-table-offset");
  header = sample();
  header.autoclear_features = autoclear::kRawDataFile;
  EXPECT_EQ(reason(header, Purpose::kInspect), "allowed");
  EXPECT_EQ(reason(header, Purpose::kRead), "qcow2-raw-without-data-file");
  header = sample();
  header.l1_table_offset = 1_MiB;
  EXPECT_EQ(reason(header, Purpose::kRead), "qcow2-l1-outside");
  EXPECT_EQ(reason(header, Purpose::kCheck), "allowed");
}

TEST(Qcow2Header, KnowsHowManyL1EntriesASizeNeeds) {
  const Header header = sample();
  EXPECT_EQ(l1_entries_for(header, 0), 0u);
  EXPECT_EQ(l1_entries_for(header, 512_MiB), 1u);
  EXPECT_EQ(l1_entries_for(header, 512_MiB + 1), 2u);
  EXPECT_EQ(l1_entries_for(header, uint64_t{2} << 50), 4194304u);
  EXPECT_EQ(l1_entries_for(header, (uint64_t{2} << 50) + 1), std::nullopt);
}

}  // namespace
}  // namespace ashlar::qcow2
