// The qcow2 format, as the list of drivers has it.
#include "formats/qcow2/qcow2.h"

#include "base/endian.h"
#include "formats/qcow2/create.h"
#include "formats/qcow2/image.h"
#include "formats/qcow2/measure.h"

namespace ashlar {
namespace {

/// The magic and a version that this format has had.
int probe(std::span<const std::byte> head) {
  if (head.size() < 8 || load_be<uint32_t>(head.data()) != qcow2::kMagic) return 0;
  return load_be<uint32_t>(head.data() + 4) >= 2 ? 100 : 0;
}

}  // namespace

constexpr ObjectOption kObjects[] = {
    {"file"},
    {"backing", ObjectOption::Kind::kBacking, ObjectOption::Need::kOptional},
    {"data-file", ObjectOption::Kind::kChild, ObjectOption::Need::kOptional},
};

constinit const DriverSpec qcow2_driver{
    .name = "qcow2",
    .summary = "grows as it is written; backing files, compression, snapshots",
    .kind = NodeKind::kFormat,
    .open = qcow2::Image::open,
    .open_options = describe_options<qcow2::OpenOptions>,
    .objects = kObjects,
    .probe = probe,
    .create = qcow2::create,
    .create_options = qcow2::create_option_rows,
    .measure = qcow2::measure,
    .supports_backing = true,
    .supports_compression = true,
    .supports_bitmaps = true,
    .supports_snapshots = true,
};

}  // namespace ashlar
