// Reading and encoding the tables of persistent bitmaps.
#include "formats/qcow2/bitmap_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "ashlar/driver.h"
#include "base/checked.h"
#include "base/endian.h"
#include "formats/qcow2/metadata_reader.h"

namespace ashlar::qcow2 {

uint64_t bitmap_bits(uint64_t size, uint8_t granularity_bits) {
  return divide_up(size, uint64_t{1} << granularity_bits);
}

void clear_bits_from(std::span<std::byte> bytes, uint64_t count) {
  const uint64_t whole = count / 8;
  if (whole >= bytes.size()) return;
  bytes[whole] &= std::byte((1u << count % 8) - 1);
  std::ranges::fill(bytes.subspan(whole + 1), std::byte{0});
}

Task<Result<std::vector<BitmapTableEntry>>> read_bitmap_table(Child& file, const Header& header,
                                                              const BitmapEntry& bitmap) {
  std::vector<BitmapTableEntry> table;
  table.reserve(bitmap.table_size);
  MetadataReader reader(file);
  const uint64_t end = bitmap.table_offset + bitmap.table_bytes();
  for (uint64_t at = bitmap.table_offset; at < end;) {
    const ByteRange part(at, std::min<uint64_t>(end - at, MetadataReader::kWindow));
    const auto bytes = co_await reader.view(part, end);
    if (!bytes) co_return fail(bytes.error().within("read the table of bitmap", bitmap.name));
    for (size_t offset = 0; offset < bytes->size(); offset += 8) {
      const BitmapTableEntry entry{load_be<uint64_t>(bytes->data() + offset)};
      if (!entry.is_valid(header.cluster_size())) {
        co_return fail(Error(ErrorCode::kCorrupt,
                             fmt::format("bitmap \"{}\": table entry 0x{:x} at 0x{:x} is unaligned "
                                         "or has reserved bits set",
                                         bitmap.name, entry.raw, at + offset))
                           .because("qcow2-bitmap-table", {bitmap.name}));
      }
      table.push_back(entry);
    }
    at += part.length;
  }
  co_return table;
}

Task<Result<void>> read_bitmap_part(Child& file, BitmapTableEntry entry,
                                    std::span<std::byte> into) {
  if (entry.offset() == 0) {
    std::ranges::fill(into, entry.all_ones() ? std::byte{0xff} : std::byte{0});
    co_return ok();
  }
  std::ranges::fill(into, std::byte{0});
  if (entry.offset() >= file.size()) co_return ok();  // as every other read behind the end
  const ByteRange where(entry.offset(),
                        std::min<uint64_t>(into.size(), file.size() - entry.offset()));
  const MutableBuffers buffers(into.data(), where.length);
  co_return co_await file.read(where, buffers);
}

std::vector<std::byte> encode_bitmap_table(std::span<const BitmapTableEntry> table) {
  std::vector<std::byte> bytes(table.size() * 8);
  for (size_t i = 0; i < table.size(); ++i) store_be(bytes.data() + i * 8, table[i].raw);
  return bytes;
}

}  // namespace ashlar::qcow2
