// What the peer's tools say, by the library's reasons. Grouped by where the reasons come from.
#include "tools/common/peer_words.h"

#include <array>

namespace ashlar::tools {
namespace {

constexpr std::string_view kSizeExpected =
    "Parameter '{0}' expects a non-negative number below 2^64\n"
    "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
    "and exabytes, respectively.";

constexpr PeerWords kWords[] = {
    // Options.
    {"option-switch", "Parameter '{0}' expects 'on' or 'off'"},
    {"option-size", kSizeExpected},
    {"option-number", "Parameter '{0}' expects a number"},
    {"option-range", "Value '{1}' is too large for parameter '{0}'"},
    {"option-choice", "Parameter '{0}' does not accept value '{1}'"},
    {"json-syntax", "JSON parse error, invalid text at position {0}"},
    {"json-end", "JSON parse error, premature EOI"},
    {"json-duplicate-key", "JSON parse error, duplicate key"},
    {"json-not-object", "Invalid JSON object given"},
    {"json-name", "Could not parse the JSON options: {cause}"},

    // The graph.
    {"driver-unknown", "Unknown driver '{0}'"},
    {"driver-missing", "Must specify either driver or file"},
    {"protocol-unknown", "Unknown protocol '{0}'"},
    {"option-unknown", "Block format '{0}' does not support the option '{1}'"},
    {"storage-option-unknown", "Block protocol '{0}' doesn't support the option '{1}'"},
    {"child-missing", "A block device must be specified for \"{0}\""},
    {"node-not-found", "Cannot find device='{0}' nor node-name='{0}'"},
    {"name-invalid", "Invalid node-name: '{0}'"},
    {"name-taken", "Duplicate nodes with node-name='{0}'"},
    {"backing-open", "Could not open backing file: {cause}"},
    {"force-share-writable", "force-share=on can only be used with read-only images"},
    {"detect-zeroes-discard",
     "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap"},
    {"node-read-only", "Block node is read-only"},
    {"resize-unsupported", "Image format driver does not support resize"},

    // Files.
    {"raw-offset", "Offset ({0}) cannot be greater than size of the containing file ({1})"},
    {"raw-size",
     "The sum of offset ({0}) and size ({1}) has to be smaller or equal to the "
     " actual size of the containing file ({2})"},
    {"raw-size-unaligned", "Specified size is not multiple of 512"},
    {"raw-fixed-size", "Cannot resize fixed-size raw disks"},
    {"raw-not-resized", "Cannot resize device files"},
    {"file-open", "Could not open '{0}': {errno}"},
    {"file-create", "Could not create '{0}': {errno}"},
    {"file-name-missing", "The '{0}' block driver requires a file name"},
    {"file-not-regular", "'{0}' driver requires '{1}' to be a regular file"},
    {"file-not-device", "'{0}' driver requires '{1}' to be either a character or block device"},
    {"file-no-direct", "Could not open '{0}': filesystem does not support O_DIRECT"},
    {"file-native-needs-direct",
     "aio=native was specified, but it requires cache.direct=on, which was not specified."},
    {"file-resize", "Could not resize file: {errno}"},
    {"file-preallocation", "Unsupported preallocation mode: {0}"},
    {"file-option-choice", "invalid parameter value: {0}"},
    {"file-preallocation-word", "invalid parameter value: {0}"},
    {"file-preallocation-shrink", "Preallocation can't be used for shrinking files"},
    {"file-extent-size-hint", "Extent size hint is too large"},
    {"device-resize", "Cannot resize device files"},
    {"device-too-small", "Cannot grow device files"},
    {"null-filename", "The only allowed filename for this driver is '{0}'"},
    {"lock-byte", "Failed to lock byte {0}"},
    {"lock-used", "Failed to get \"{0}\" lock\nIs another process using the image [{1}]?"},
    {"lock-shared", "Failed to get shared \"{0}\" lock\nIs another process using the image [{1}]?"},

    // qcow2: opening.
    {"qcow2-magic", "Image is not in qcow2 format"},
    {"qcow2-version", "Unsupported qcow2 version {0}"},
    {"qcow2-cluster-bits", "Unsupported cluster size: 2^{0}"},
    {"qcow2-header-short", "qcow2 header too short"},
    {"qcow2-header-long", "qcow2 header exceeds cluster size"},
    {"qcow2-features", "Unsupported qcow2 feature(s): Unknown incompatible feature: {1}"},
    {"qcow2-features-named", "Unsupported qcow2 feature(s): {0}"},
    {"qcow2-features-mixed",
     "Unsupported qcow2 feature(s): {0}, Unknown incompatible feature: {1}"},
    {"qcow2-subcluster-size", "Unsupported subcluster size: {0}"},
    {"qcow2-crypt-method", "Unsupported encryption method {0}"},
    {"qcow2-refcount-order", "Reference count entry width too large; may not exceed 64 bits"},
    {"qcow2-compression-type", "qcow2: unknown compression type: {0}"},
    {"qcow2-compression-bit-set",
     "qcow2: Compression type incompatible feature bit must not be set"},
    {"qcow2-compression-bit-clear", "qcow2: Compression type incompatible feature bit must be set"},
    {"qcow2-refcount-table-offset", "Reference count table offset invalid"},
    {"qcow2-refcount-table-size", "Reference count table too large"},
    {"qcow2-no-refcount-table", "Image does not contain a reference count table"},
    {"qcow2-l1-offset", "Active L1 table offset invalid"},
    {"qcow2-l1-size", "Active L1 table too large"},
    {"qcow2-l1-too-small", "L1 table is too small"},
    {"qcow2-size", "Image is too big"},
    {"qcow2-backing-offset", "Invalid backing file offset"},
    {"qcow2-backing-name-size", "Backing file name too long"},
    {"qcow2-extension-size", "Header extension too large"},
    {"qcow2-snapshot-table-offset", "Snapshot table offset invalid"},
    {"qcow2-snapshot-table-size", "Snapshot table too large"},
    {"qcow2-snapshot-l1-offset", "Snapshot L1 table offset invalid"},
    {"qcow2-snapshot-l1-size", "Snapshot L1 table too large"},
    {"qcow2-corrupt", "qcow2: Image is corrupt; cannot be opened read/write"},
    {"qcow2-data-file-missing", "'data-file' is required for this image"},

    // qcow2: creating and measuring.
    {"qcow2-create-cluster-size", "Cluster size must be a power of two between 512 and 2048k"},
    {"qcow2-create-extended-l2-version",
     "Extended L2 entries are only supported with compatibility level 1.1 and above (use "
     "version=v3 or greater)"},
    {"qcow2-create-extended-l2-cluster-size",
     "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes"},
    {"qcow2-create-backing-preallocation",
     "Backing file and preallocation can only be used at the same time if extended_l2 is on"},
    {"qcow2-create-backing-format", "Backing format cannot be used without backing file"},
    {"qcow2-create-lazy-refcounts-version",
     "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or "
     "greater)"},
    {"qcow2-create-refcount-bits",
     "Refcount width must be a power of two and may not exceed 64 bits"},
    {"qcow2-create-refcount-bits-version",
     "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
     "version=v3 or greater)"},
    {"qcow2-create-raw-backing", "Backing file and data-file-raw cannot be used at the same time"},
    {"qcow2-create-data-file-version",
     "External data files are only supported with compatibility level 1.1 and above (use "
     "version=v3 or greater)"},
    {"qcow2-create-raw-data-file", "data-file-raw requires data-file"},
    {"qcow2-create-compression-version",
     "Non-zlib compression type is only supported with compatibility level 1.1 and above (use "
     "version=v3 or greater)"},
    {"qcow2-create-size",
     "The image size is too large for file format 'qcow2' (try using a larger cluster size)"},
    {"qcow2-measure-size", "The image size is too large (try using a larger cluster size)"},

    // qcow2: changing.
    {"qcow2-size-unaligned", "The new size must be a multiple of 512"},
    {"qcow2-resize-snapshots", "Can't resize a v2 image which has snapshots"},
    {"preallocation-shrink", "Preallocation can only be used for growing images"},

    // qcow2: findings of check.
    {"qcow2-leak", "Leaked cluster {0} refcount={1} reference={2}"},
    {"qcow2-refcount-low", "ERROR cluster {0} refcount={1} reference={2}"},
    {"qcow2-refcount-repair", "Repairing cluster {0} refcount={1} reference={2}"},
    {"qcow2-check-rebuild", "Rebuilding refcount structure"},
    {"qcow2-check-needs-rebuild", "ERROR need to rebuild refcount structures"},
};

}  // namespace

std::span<const PeerWords> peer_words_table() { return kWords; }

}  // namespace ashlar::tools
