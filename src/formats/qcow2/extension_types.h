// Numbers of qcow2 header extensions, shared by their decoder and encoder.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/qcow2/header.h"

namespace ashlar::qcow2 {

namespace extension {
inline constexpr uint32_t kEnd = 0;
inline constexpr uint32_t kBackingFormat = 0xe2792aca;
inline constexpr uint32_t kFeatureNames = 0x6803f857;
inline constexpr uint32_t kBitmaps = 0x23852875;
inline constexpr uint32_t kEncryption = 0x0537be77;
inline constexpr uint32_t kDataFile = 0x44415441;
}  // namespace extension

inline constexpr size_t kExtensionHead = 8;  // type and length
inline constexpr size_t kFeatureRow = 48;
inline constexpr size_t kFeatureNameBytes = 46;
inline constexpr size_t kEncryptionBytes = 16;
inline constexpr size_t kBitmapsBytes = 24;
/// A directory entry has 24 bytes and a name of at most 1023, padded to a multiple of 8.
inline constexpr uint64_t kMaxBitmapEntryBytes = 1024;
inline constexpr uint64_t kMaxBitmapDirectoryBytes = kMaxBitmaps * kMaxBitmapEntryBytes;

}  // namespace ashlar::qcow2
