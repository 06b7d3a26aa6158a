// Encoding the qcow2 header with its extensions and the backing file name.
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/endian.h"
#include "formats/qcow2/extension_types.h"
#include "formats/qcow2/header.h"

namespace ashlar::qcow2 {
namespace {

// Rewrites of a header are single writes of at most this, so that few can be torn.
constexpr uint64_t kPadding = 4_KiB;

/// Appends big-endian numbers and bytes.
class Writer {
 public:
  template <std::unsigned_integral T>
  void number(T value) {
    std::array<std::byte, sizeof(T)> bytes;
    store_be(bytes.data(), value);
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  void bytes(std::span<const std::byte> data) { out_.insert(out_.end(), data.begin(), data.end()); }
  void text(std::string_view text) { bytes(std::as_bytes(std::span(text))); }
  void pad_to(size_t alignment) { out_.resize(align_up(out_.size(), alignment)); }
  void extension(uint32_t type, std::span<const std::byte> data) {
    number(type);
    number(static_cast<uint32_t>(data.size()));
    bytes(data);
    pad_to(8);
  }
  size_t size() const { return out_.size(); }
  std::vector<std::byte>& result() { return out_; }

 private:
  std::vector<std::byte> out_;
};

void encode_fixed(const Header& header, Writer& out) {
  out.number(kMagic);
  out.number(header.version);
  out.number(uint64_t{0});  // backing file name: filled in when its place is known
  out.number(uint32_t{0});
  out.number(header.cluster_bits);
  out.number(header.size);
  out.number(static_cast<uint32_t>(header.crypt_method));
  out.number(header.l1_size);
  out.number(header.l1_table_offset);
  out.number(header.refcount_table_offset);
  out.number(header.refcount_table_clusters);
  out.number(header.snapshot_count);
  out.number(header.snapshots_offset);
  if (header.version == 2) return;
  out.number(header.incompatible_features);
  out.number(header.compatible_features);
  out.number(header.autoclear_features);
  out.number(header.refcount_order);
  out.number(header.header_length);
  if (header.header_length > kMinHeaderLengthV3) {
    out.number(static_cast<uint8_t>(header.compression));
    out.bytes(header.later_fields);
    out.result().resize(header.header_length);
  }
}

void encode_feature_names(const Header& header, Writer& out) {
  Writer table;
  for (const FeatureName& row : header.feature_names) {
    const size_t end = table.size() + kFeatureRow;
    table.number(row.kind);
    table.number(row.bit);
    table.text(std::string_view(row.name).substr(0, kFeatureNameBytes));
    table.result().resize(end);
  }
  out.extension(extension::kFeatureNames, table.result());
}

void encode_extensions(const Header& header, Writer& out) {
  const auto string_extension = [&out](uint32_t type, const std::string& text) {
    out.extension(type, std::as_bytes(std::span(text)));
  };
  if (header.backing_format) string_extension(extension::kBackingFormat, *header.backing_format);
  if (header.data_file) string_extension(extension::kDataFile, *header.data_file);
  if (header.encryption) {
    Writer data;
    data.number(header.encryption->offset);
    data.number(header.encryption->length);
    out.extension(extension::kEncryption, data.result());
  }
  if (!header.feature_names.empty()) encode_feature_names(header, out);
  if (header.bitmaps) {
    Writer data;
    data.number(header.bitmaps->bitmap_count);
    data.number(header.bitmaps->reserved);
    data.number(header.bitmaps->directory_size);
    data.number(header.bitmaps->directory_offset);
    out.extension(extension::kBitmaps, data.result());
  }
  for (const UnknownExtension& kept : header.unknown_extensions) {
    out.extension(kept.type, kept.data);
  }
  out.extension(extension::kEnd, {});
}

}  // namespace

Result<std::vector<std::byte>> encode_header(const Header& header) {
  assert(header.version == 2 || header.header_length >= kMinHeaderLengthV3);
  Writer out;
  encode_fixed(header, out);
  encode_extensions(header, out);
  const size_t name_offset = out.size();
  out.text(header.backing_file);
  if (out.size() > header.cluster_size() || header.backing_file.size() > kMaxBackingName) {
    return fail(
        Error(ErrorCode::kTooLarge,
              fmt::format("header of {} bytes with a backing file name of {} bytes does not "
                          "fit: at most {} and {} are allowed",
                          out.size(), header.backing_file.size(), header.cluster_size(),
                          kMaxBackingName))
            .because("qcow2-header-full"));
  }
  std::vector<std::byte> bytes = std::move(out.result());
  if (!header.backing_file.empty()) {
    store_be(bytes.data() + 8, uint64_t{name_offset});
    store_be(bytes.data() + 16, static_cast<uint32_t>(header.backing_file.size()));
  }
  bytes.resize(std::min(align_up(bytes.size(), kPadding), header.cluster_size()));
  return bytes;
}

std::vector<FeatureName> default_feature_names() {
  using Kind = FeatureName::Kind;
  const auto row = [](Kind kind, uint8_t bit, const char* name) {
    return FeatureName{static_cast<uint8_t>(kind), bit, name};
  };
  return {row(Kind::kIncompatible, 0, "dirty bit"),
          row(Kind::kIncompatible, 1, "corrupt bit"),
          row(Kind::kIncompatible, 2, "external data file"),
          row(Kind::kIncompatible, 3, "compression type"),
          row(Kind::kIncompatible, 4, "extended L2 entries"),
          row(Kind::kCompatible, 0, "lazy refcounts"),
          row(Kind::kAutoclear, 0, "bitmaps"),
          row(Kind::kAutoclear, 1, "raw external data")};
}

}  // namespace ashlar::qcow2
