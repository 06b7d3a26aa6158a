// Decoding qcow2 header extensions.
#include "formats/qcow2/header_extensions.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/endian.h"
#include "formats/qcow2/extension_types.h"

namespace ashlar::qcow2 {
namespace {

/// The next extension of an area, or why there is none.
struct Extension {
  uint32_t type = extension::kEnd;
  std::span<const std::byte> data;
};

/// Takes extensions one by one from the front of `area_`.
class ExtensionReader {
 public:
  explicit ExtensionReader(std::span<const std::byte> area) : area_(area) {}

  /// kEnd at the end of the area. Errors: an extension that is larger than what is left.
  Result<Extension> next() {
    if (area_.empty()) return Extension{};
    if (area_.size() < kExtensionHead) return too_large(area_.size(), 0);
    const uint32_t type = load_be<uint32_t>(area_.data());
    const uint32_t length = load_be<uint32_t>(area_.data() + 4);
    area_ = area_.subspan(kExtensionHead);
    if (length > area_.size()) return too_large(area_.size(), length);
    const Extension found = {type, area_.first(length)};
    area_ = area_.subspan(std::min<size_t>(align_up(length, 8), area_.size()));
    return found;
  }

 private:
  static std::unexpected<Error> too_large(size_t room, uint32_t length) {
    return fail(Error(ErrorCode::kCorrupt,
                      fmt::format("header extension of {} bytes exceeds the {} bytes left for it",
                                  length, room))
                    .because("qcow2-extension-size"));
  }
  std::span<const std::byte> area_;
};

std::unexpected<Error> corrupt(std::string_view reason, std::string message,
                               std::initializer_list<std::string> values = {}) {
  return fail(Error(ErrorCode::kCorrupt, std::move(message)).because(reason, values));
}

std::vector<FeatureName> decode_feature_names(std::span<const std::byte> data) {
  std::vector<FeatureName> rows;
  for (; data.size() >= kFeatureRow; data = data.subspan(kFeatureRow)) {
    rows.push_back({.kind = std::to_integer<uint8_t>(data[0]),
                    .bit = std::to_integer<uint8_t>(data[1]),
                    .name = text_of(data.subspan(2, kFeatureNameBytes))});
  }
  return rows;
}

Result<void> decode_encryption(std::span<const std::byte> data, Header& header) {
  if (header.crypt_method != CryptMethod::kLuks) {
    return corrupt(
        "qcow2-encryption-unexpected",
        fmt::format("an encryption header is only for encryption method 2 (LUKS), not {}",
                    static_cast<uint32_t>(header.crypt_method)));
  }
  if (data.size() != kEncryptionBytes) {
    return corrupt("qcow2-encryption-size",
                   fmt::format("encryption header extension has {} bytes, not {}", data.size(),
                               kEncryptionBytes),
                   {std::to_string(data.size()), std::to_string(kEncryptionBytes)});
  }
  const EncryptionHeader found = {load_be<uint64_t>(data.data()),
                                  load_be<uint64_t>(data.data() + 8)};
  if (!is_aligned(found.offset, header.cluster_size())) {
    return corrupt("qcow2-encryption-offset",
                   fmt::format("encryption header at 0x{:x} is not aligned to clusters of {} bytes",
                               found.offset, header.cluster_size()),
                   {std::to_string(found.offset), std::to_string(header.cluster_size())});
  }
  if (found.offset > kMaxDeviceSize || found.length > kMaxDeviceSize - found.offset) {
    return corrupt("qcow2-encryption-range",
                   fmt::format("encryption header of {} bytes at 0x{:x} ends past the largest "
                               "possible file",
                               found.length, found.offset));
  }
  header.encryption = found;
  return ok();
}

Result<void> check_bitmaps(const BitmapsExtension& found, uint64_t cluster_size) {
  if (found.bitmap_count == 0) {
    return corrupt("qcow2-bitmaps-none",
                   "bitmaps extension counts 0 bitmaps, at least 1 is needed");
  }
  if (found.bitmap_count > kMaxBitmaps) {
    return corrupt("qcow2-bitmaps-count",
                   fmt::format("bitmaps extension counts {} bitmaps, at most {} are allowed",
                               found.bitmap_count, kMaxBitmaps),
                   {std::to_string(found.bitmap_count), std::to_string(kMaxBitmaps)});
  }
  if (found.reserved != 0) {
    return corrupt(
        "qcow2-bitmaps-reserved",
        fmt::format("reserved field of the bitmaps extension is 0x{:x}, not 0", found.reserved));
  }
  if (!is_aligned(found.directory_offset, cluster_size) ||
      found.directory_offset > kMaxDeviceSize - kMaxBitmapDirectoryBytes) {
    return corrupt("qcow2-bitmaps-directory-offset",
                   fmt::format("bitmap directory at 0x{:x} is not aligned to clusters of {} bytes "
                               "or past the largest possible file",
                               found.directory_offset, cluster_size));
  }
  if (found.directory_size > kMaxBitmapDirectoryBytes) {
    return corrupt(
        "qcow2-bitmaps-directory-size",
        fmt::format("bitmap directory of {} bytes, at most {} are allowed", found.directory_size,
                    kMaxBitmapDirectoryBytes),
        {std::to_string(found.directory_size), std::to_string(kMaxBitmapDirectoryBytes)});
  }
  return ok();
}

Result<void> decode_bitmaps(std::span<const std::byte> data, Header& header) {
  if (data.size() != kBitmapsBytes) {
    return corrupt("qcow2-bitmaps-size", fmt::format("bitmaps extension has {} bytes, not {}",
                                                     data.size(), kBitmapsBytes));
  }
  header.bitmaps = BitmapsExtension{.bitmap_count = load_be<uint32_t>(data.data()),
                                    .reserved = load_be<uint32_t>(data.data() + 4),
                                    .directory_size = load_be<uint64_t>(data.data() + 8),
                                    .directory_offset = load_be<uint64_t>(data.data() + 16)};
  const BitmapsExtension* valid = header.valid_bitmaps();
  return valid != nullptr ? check_bitmaps(*valid, header.cluster_size()) : ok();
}

Result<void> decode_backing_format(std::span<const std::byte> data, Header& header) {
  if (data.size() > kMaxBackingFormat) {
    return corrupt("qcow2-backing-format-size",
                   fmt::format("backing format name has {} bytes, at most {} are allowed",
                               data.size(), kMaxBackingFormat),
                   {std::to_string(data.size()), std::to_string(kMaxBackingFormat + 1)});
  }
  header.backing_format = text_of(data);
  return ok();
}

Result<void> decode_one(const Extension& found, Header& header) {
  switch (found.type) {
    case extension::kBackingFormat:
      return decode_backing_format(found.data, header);
    case extension::kFeatureNames:
      header.feature_names = decode_feature_names(found.data);
      return ok();
    case extension::kEncryption:
      return decode_encryption(found.data, header);
    case extension::kBitmaps:
      return decode_bitmaps(found.data, header);
    case extension::kDataFile:
      header.data_file = text_of(found.data);
      return ok();
    default:
      header.unknown_extensions.push_back(
          {found.type, std::vector<std::byte>(found.data.begin(), found.data.end())});
      return ok();
  }
}

}  // namespace

std::string text_of(std::span<const std::byte> bytes) {
  const auto end = std::ranges::find(bytes, std::byte{0});
  const auto* const text = reinterpret_cast<const char*>(bytes.data());
  return {text, text + (end - bytes.begin())};
}

std::vector<FeatureName> find_feature_names(std::span<const std::byte> area) {
  ExtensionReader reader(area);
  for (;;) {
    const auto found = reader.next();
    if (!found || found->type == extension::kEnd) return {};
    if (found->type == extension::kFeatureNames) return decode_feature_names(found->data);
  }
}

Result<void> decode_extensions(std::span<const std::byte> area, Header& header) {
  constexpr std::array kOnce = {extension::kBackingFormat, extension::kFeatureNames,
                                extension::kEncryption, extension::kBitmaps, extension::kDataFile};
  std::array<bool, kOnce.size()> seen{};
  ExtensionReader reader(area);
  for (;;) {
    const auto found = reader.next();
    if (!found) return fail(found.error());
    if (found->type == extension::kEnd) break;
    const auto known = std::ranges::find(kOnce, found->type);
    if (known != kOnce.end() && std::exchange(seen[known - kOnce.begin()], true)) {
      // Two readers that pick different ones would see different images.
      return corrupt("qcow2-extension-twice",
                     fmt::format("header extension 0x{:08x} appears twice", found->type));
    }
    if (auto good = decode_one(*found, header); !good) return good;
  }
  if (header.crypt_method == CryptMethod::kLuks && !header.encryption) {
    return corrupt("qcow2-encryption-missing",
                   "encryption method 2 (LUKS) needs an encryption header, which is missing",
                   {"2"});
  }
  return ok();
}

}  // namespace ashlar::qcow2
