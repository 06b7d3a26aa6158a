// The tables of persistent bitmaps and the bits behind them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "formats/qcow2/bitmap_directory.h"

namespace ashlar::qcow2 {

/// Bits that a bitmap of that granularity has for a disk of `size` bytes.
uint64_t bitmap_bits(uint64_t size, uint8_t granularity_bits);

/// Clears what is in `bytes` from bit `count` on.
void clear_bits_from(std::span<std::byte> bytes, uint64_t count);

/// The table of a bitmap that is not in use. Errors: kCorrupt (reason "qcow2-bitmap-table").
Task<Result<std::vector<BitmapTableEntry>>> read_bitmap_table(Child& file, const Header& header,
                                                              const BitmapEntry& bitmap);

/// The bytes that one entry stands for, `into.size()` of them from the start.
Task<Result<void>> read_bitmap_part(Child& file, BitmapTableEntry entry, std::span<std::byte> into);

/// The table as written to the file.
std::vector<std::byte> encode_bitmap_table(std::span<const BitmapTableEntry> table);

}  // namespace ashlar::qcow2
