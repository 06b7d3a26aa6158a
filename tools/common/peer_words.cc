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
    {"option-missing", "Parameter '{0}' is missing"},
    {"json-syntax", "JSON parse error, invalid text at position {0}"},
    {"json-end", "JSON parse error, premature EOI"},
    {"json-duplicate-key", "JSON parse error, duplicate key"},
    {"json-not-object", "Invalid JSON object given"},
    {"json-name", "Could not parse the JSON options: {cause}"},

    // Limits.
    {"throttle-type", "Invalid parameter type for '{0}', expected: integer"},
    {"throttle-range", "bps/iops/max values must be within [0, 1000000000000000]"},
    {"throttle-length-range", "{0} value must be in the range [0, 4294967295]"},
    {"throttle-total-and-one",
     "bps/iops/max total values and read/write values cannot be used at the same time"},
    {"throttle-size-alone", "iops size requires an iops value to be set"},
    {"throttle-length-zero", "the burst length cannot be 0"},
    {"throttle-length-without-burst", "burst length set without burst rate"},
    {"throttle-length-high", "burst length too high for this burst rate"},
    {"throttle-burst-without-average", "bps_max/iops_max require corresponding bps/iops values"},
    {"throttle-burst-low", "bps_max/iops_max cannot be lower than bps/iops"},
    {"throttle-group-missing", "Please specify a throttle group"},
    {"throttle-group-not-found", "Throttle group '{0}' does not exist"},

    // Exports.
    {"fuse-mountpoint", "Failed to stat '{0}': {errno}"},
    {"fuse-mountpoint-kind", "'{0}' is not a regular file"},
    {"fuse-mountpoint-busy", "There already is a FUSE export on '{0}'"},
    {"fuse-mount", "Failed to mount FUSE session to export"},

    {"vhost-block-size",
     "Property {0}.logical-block-size doesn't take value {1} (minimum: 512, maximum: 2097152)"},
    {"vhost-no-queues", "num-queues must be greater than 0"},
    {"vhost-address", "Only socket address types 'unix' and 'fd' are supported"},

    // Connections and credentials.
    {"socket-connect", "Failed to connect to '{0}': {errno}"},
    {"socket-type", "Parameter 'type' does not accept value '{0}'"},
    {"socket-lookup", "address resolution failed for {0}:{1}: {2}"},
    {"socket-path-long", "UNIX socket path '{0}' is too long"},
    {"nbd-uri", "No valid URL specified"},
    {"nbd-address", "error parsing address '{0}'"},
    {"nbd-address-missing", "NBD server address missing"},
    {"nbd-server-twice", "{0} and {1} may not be used at the same time"},
    {"nbd-export", "Requested export not available{1}"},
    {"nbd-tls-required",
     "TLS negotiation required before continuing{1}\nDid you forget a valid tls-creds?"},
    {"nbd-context", "Could not open image: Invalid argument"},
    {"nbd-read-only", "Could not open image: Permission denied"},
    {"nbd-resize", "Cannot resize NBD nodes"},
    {"secret-not-found", "No secret with id '{0}'"},
    {"tls-not-found", "No TLS credentials with id '{0}'"},
    {"tls-type", "Object with id '{0}' is not TLS credentials"},
    {"tls-file", "Unable to access credentials {0}: {errno}"},
    {"tls-dir-missing", "Missing 'dir' property value"},

    // The graph.
    {"driver-unknown", "Unknown driver '{0}'"},
    {"driver-missing", "Must specify either driver or file"},
    {"protocol-unknown", "Unknown protocol '{0}'"},
    {"option-unknown", "Block format '{0}' does not support the option '{1}'"},
    {"storage-option-unknown", "Block protocol '{0}' doesn't support the option '{1}'"},
    {"child-missing", "A block device must be specified for \"{0}\""},
    {"node-not-found", "Cannot find device='{0}' nor node-name='{0}'"},
    {"name-invalid", "Invalid node-name: '{0}'"},
    {"overlay-in-use", "The overlay is already in use"},
    {"overlay-unsupported", "The overlay does not support backing images"},
    {"overlay-has-backing", "The overlay already has a backing image"},
    {"overlay-is-node", "Making '{0}' a backing child of '{0}' would create a cycle"},
    {"node-is-backing", "Node '{0}' is busy: node is used as backing hd of '{1}'"},
    {"name-taken", "Duplicate nodes with node-name='{0}'"},
    {"backing-open", "Could not open backing file: {cause}"},
    {"force-share-writable", "force-share=on can only be used with read-only images"},
    {"detect-zeroes-discard",
     "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap"},
    {"node-read-only", "Block node is read-only"},
    {"resize-unsupported", "Image format driver does not support resize"},

    // Exports.
    {"export-type", "Parameter 'type' does not accept value '{0}'"},
    {"export-id", "Invalid block export id"},
    {"export-exists", "Block export id '{0}' is already in use"},
    {"export-node-not-found", "Cannot find device='' nor node-name='{0}'"},
    {"export-not-found", "Export '{0}' is not found"},
    {"export-in-use", "export '{0}' still in use"},
    {"export-shutting-down", "export '{0}' is already shutting down"},
    {"export-read-only", "Cannot export read-only node as writable"},
    {"nbd-server-missing", "NBD server not running"},
    {"nbd-export-exists", "NBD server already has export named '{0}'"},
    {"iothread-not-found", "iothread \"{0}\" not found"},
    {"bitmap-not-found", "Bitmap '{0}' is not found"},

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
    {"qcow2-snapshot-extra",
     "Too much extra metadata in snapshot table entry {0}\n"
     "You can force-remove this extra metadata with qemu-img check -r all"},
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

    // qcow2: bitmaps.
    {"bitmap-inconsistent",
     "Bitmap '{0}' is inconsistent and cannot be used\n"
     "Try block-dirty-bitmap-remove to delete this bitmap from disk"},
    {"bitmap-exists", "Bitmap already exists: {0}"},
    {"qcow2-bitmap-more", "Broken bitmap directory"},
    {"qcow2-bitmap-directory", "Broken bitmap directory"},
    {"qcow2-bitmap-less", "Less bitmaps found than specified in header extension"},
    {"qcow2-bitmap-constraints", "Bitmap '{0}' doesn't satisfy the constraints"},
    {"qcow2-bitmap-table",
     "Could not read bitmap_table table from image for bitmap '{0}': Invalid argument"},

    // qcow2: findings of check.
    {"qcow2-leak", "Leaked cluster {0} refcount={1} reference={2}"},
    {"qcow2-refcount-low", "ERROR cluster {0} refcount={1} reference={2}"},
    {"qcow2-refcount-repair", "Repairing cluster {0} refcount={1} reference={2}"},
    {"qcow2-check-rebuild", "Rebuilding refcount structure"},
    {"qcow2-check-needs-rebuild", "ERROR need to rebuild refcount structures"},
    {"qcow2-check-outside",
     "ERROR: counting reference for region exceeding the end of the file by one cluster or more: "
     "offset 0x{0} size 0x{1}"},
    {"qcow2-check-overflow",
     "ERROR: overflow cluster offset=0x{0}\n"
     "Use qemu-img amend to increase the refcount entry width or qemu-img convert to create a "
     "clean copy if the image cannot be opened for writing"},
    {"qcow2-check-copied-table",
     "ERROR OFLAG_COPIED L2 cluster: l1_index={0} l1_entry={1} refcount={2}"},
    {"qcow2-check-copied-table-repair",
     "Repairing OFLAG_COPIED L2 cluster: l1_index={0} l1_entry={1} refcount={2}"},
    {"qcow2-check-copied-data", "ERROR OFLAG_COPIED data cluster: l2_entry={0} refcount={1}"},
    {"qcow2-check-copied-data-repair",
     "Repairing OFLAG_COPIED data cluster: l2_entry={0} refcount={1}"},
    {"qcow2-check-l1-reserved", "ERROR found L1 entry with reserved bits set: {0}"},
    {"qcow2-check-l1-unaligned",
     "ERROR l2_offset={0}: Table is not cluster aligned; L1 entry corrupted"},
    {"qcow2-check-l2-reserved", "ERROR found l2 entry with reserved bits set: {0}"},
    {"qcow2-check-data-unaligned",
     "ERROR offset={0}: Data cluster is not properly aligned; L2 entry corrupted."},
    {"qcow2-check-room-unaligned",
     "ERROR offset={0}: Preallocated cluster is not properly aligned; L2 entry corrupted."},
    {"qcow2-check-room-unaligned-repair",
     "Repairing offset={0}: Preallocated cluster is not properly aligned; L2 entry corrupted."},
    {"qcow2-check-compressed-copied",
     "ERROR: coffset=0x{0}: copied flag must never be set for compressed clusters"},
    {"qcow2-check-compressed-data-file",
     "ERROR compressed cluster {0} with data file, entry=0x{1}"},
    {"qcow2-check-compressed-bitmap",
     "ERROR compressed cluster {0} with non-zero subcluster allocation bitmap, entry=0x{1}"},
    {"qcow2-check-subclusters-unallocated",
     "ERROR: Unallocated cluster has non-zero subcluster allocation map"},
    {"qcow2-check-subclusters",
     "ERROR offset={0}: Allocated cluster has corrupted subcluster allocation bitmap"},
    {"qcow2-check-table-reserved", "ERROR refcount table entry {0} has reserved bits set"},
    {"qcow2-check-block-unaligned",
     "ERROR refcount block {0} is not cluster aligned; refcount table entry corrupted"},
    {"qcow2-check-block-unusable",
     "qcow2: Image is corrupt: Refblock offset 0x{0} unaligned (reftable index: {1}); further "
     "non-fatal corruption events will be suppressed"},
    {"qcow2-check-no-refcount", "Can't get refcount for cluster {0}: Input/output error"},
    {"qcow2-check-block-outside", "ERROR refcount block {0} is outside image"},
    {"qcow2-check-block-outside-repair", "Repairing refcount block {0} is outside image"},
    {"qcow2-check-block-refcount", "ERROR refcount block {0} refcount={1}"},
    {"qcow2-check-snapshot-l1",
     "ERROR snapshot {0} ({1}) l1_offset=0x{2}: L1 table is not cluster aligned; snapshot table "
     "entry corrupted"},
    {"qcow2-check-snapshot-l1-size",
     "ERROR snapshot {0} ({1}) l1_size=0x{2}: L1 table is too large; snapshot table entry "
     "corrupted"},
    {"qcow2-check-snapshot-incomplete", "ERROR snapshot table entry {0} is incomplete"},
    {"qcow2-check-snapshot-incomplete-repair", "Repairing snapshot table entry {0} is incomplete"},
    {"qcow2-check-snapshot-extra-dropped",
     "Discarding too much extra metadata in snapshot table entry {0} ({1} > 1024)"},
    {"qcow2-check-snapshots-dropped", "Discarding {0} overhanging snapshots"},
    {"qcow2-check-snapshots-offset", "ERROR snapshot table offset invalid",
     PeerWords::Voice::kProgram},
    {"qcow2-check-snapshots-many",
     "ERROR snapshot table too large\n"
     "You can force-remove all {0} overhanging snapshots with qemu-img check -r all",
     PeerWords::Voice::kProgram},
    {"qcow2-check-snapshots-large",
     "ERROR failed to read the snapshot table: Snapshot table is too big\n"
     "You can force-remove all {0} overhanging snapshots with qemu-img check -r all",
     PeerWords::Voice::kProgram},
    {"qcow2-check-snapshot-extra",
     "ERROR failed to read the snapshot table: Too much extra metadata in snapshot table entry "
     "{0}\nYou can force-remove this extra metadata with qemu-img check -r all",
     PeerWords::Voice::kProgram},
};

}  // namespace

std::span<const PeerWords> peer_words_table() { return kWords; }

}  // namespace ashlar::tools
