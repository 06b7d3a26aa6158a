// The driver API: all that the code for one kind of node needs to know.
// A driver contains what only this driver knows. The layer checks ranges, aligns, splits, bounces,
// serialises and falls back (zero by writing, FUA by flushing) before it calls a driver.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/credentials.h"
#include "ashlar/error.h"
#include "ashlar/image_info.h"
#include "ashlar/mapping.h"
#include "ashlar/options.h"
#include "ashlar/permissions.h"
#include "ashlar/persistent_bitmap.h"
#include "ashlar/request.h"
#include "ashlar/task.h"
#include "ashlar/vm_state.h"

namespace ashlar {

class EpochDomain;  // src/async/epoch.h
class ThrottleGroupStore;

/// How a node is opened. Children inherit what makes sense for them.
struct OpenFlags {
  bool read_only = false;
  bool auto_read_only = false;  ///< fall back to read-only where writing is not permitted
  bool force_share = false;     ///< take no locks, let others write
  bool metadata_only = false;   ///< no guest data will be read: open no data file, ask no secret
  bool checking = false;        ///< open inconsistent images, for check and repair
  bool no_backing = false;      ///< open no backing image, as if there were none
  bool probed = false;          ///< set by the layer: nobody named the format, it was guessed
  bool cache_direct = false;    ///< bypass the host's page cache
  bool cache_no_flush = false;  ///< flush only to the host's page cache
  enum class Discard : uint8_t { kIgnore, kUnmap } discard = Discard::kIgnore;
  enum class DetectZeroes : uint8_t { kOff, kOn, kUnmap } detect_zeroes = DetectZeroes::kOff;
  bool operator==(const OpenFlags&) const = default;
};

/// What is true of an opened driver. Read after open and after each resize.
struct NodeInfo {
  uint64_t size = 0;
  uint32_t request_alignment = 1;  ///< of offset and length of reads and writes; power of two
  uint32_t memory_alignment = 1;   ///< of buffers
  uint64_t max_transfer = 0;       ///< largest read or write; 0: no limit
  /// Unit of allocation, zeroing and discarding of a format. 0: none.
  uint64_t cluster_size = 0;
  /// Smallest part of a cluster that can be zeroed or allocated by itself. 0: the cluster.
  uint64_t subcluster_size = 0;
  enum class Fua : uint8_t { kByFlush, kNative } fua = Fua::kByFlush;
  enum class Zeroes : uint8_t { kByWriting, kNative } zeroes = Zeroes::kByWriting;
  enum class Discards : uint8_t { kIgnored, kNative } discards = Discards::kIgnored;
  /// Bytes past the end can be written and make the device larger.
  enum class End : uint8_t { kFixed, kGrows } end = End::kFixed;
  /// All of a new image reads as zeroes without being written.
  enum class Fresh : uint8_t { kUnknown, kZeroes } fresh = Fresh::kUnknown;
  enum class Compression : uint8_t { kNone, kWrites } compression = Compression::kNone;
  /// Whether writes from several loops at once go faster than those of one, or only wait for each
  /// other. A hint.
  enum class Writers : uint8_t { kMany, kOne } writers = Writers::kMany;
  bool operator==(const NodeInfo&) const = default;
};

/// An edge of the graph as its parent's driver sees it: the way to a child's bytes.
/// Any offset and length; writing past the end grows children that can grow.
/// Stays valid until the driver has been closed. Any loop.
class Child {
 public:
  virtual ~Child() = default;
  virtual const std::string& name() const noexcept = 0;  ///< of the edge: "file", "data-file" ...
  virtual NodeInfo info() const noexcept = 0;
  virtual uint64_t size() const noexcept = 0;
  virtual bool writable() const noexcept = 0;
  /// What the child is called towards users: its file name or json: name.
  virtual std::string filename() const = 0;
  /// Bytes it occupies in the host's file system; empty when unknown.
  virtual std::optional<uint64_t> allocated_size() const { return std::nullopt; }

  virtual Task<Result<void>> read(ByteRange range, MutableBuffers into) = 0;
  virtual Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags = {}) = 0;
  virtual Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags = {}) = 0;
  virtual Task<Result<void>> discard(ByteRange range) = 0;
  /// A hint: room for `range` that writes will find later; its contents stay, a file that can grow
  /// reaches to its end.
  virtual Task<Result<void>> reserve(ByteRange range);
  /// Everything written so far is durable afterwards (unless opened with cache_no_flush).
  virtual Task<Result<void>> flush() = 0;
  virtual Task<Result<void>> resize(uint64_t size, ResizeFlags flags = {}) = 0;
  /// Block status of the start of `range`, of this child's own bytes.
  virtual Task<Result<Extent>> status(ByteRange range) = 0;
};

/// Something an image names. Only the caller's resolver decides whether it is opened.
struct Reference {
  enum class Kind : uint8_t { kBacking, kDataFile } kind = Kind::kBacking;
  std::string name;    ///< as stored in the image
  std::string format;  ///< as stored; empty when the image does not say
};

/// What the layer offers a driver for as long as it is open.
class NodeHost {
 public:
  virtual ~NodeHost() = default;
  virtual const std::string& node_name() const = 0;
  virtual const OpenFlags& flags() const = 0;
  /// Whether a backing child is attached now.
  virtual bool has_backing() const = 0;
  /// Requests that may still act on what they looked up. See EpochDomain.
  virtual EpochDomain& requests() = 0;
  /// Called when a driver finds its image corrupt while in use.
  virtual void image_corrupted(const Error& error) = 0;
};

/// How a driver gets at its options and children while it opens.
class OpenContext {
 public:
  virtual ~OpenContext() = default;
  /// This driver's options; the generic ones and children's are already taken out.
  virtual OptionDict& options() = 0;
  virtual const OpenFlags& flags() const = 0;
  virtual NodeHost& host() = 0;
  /// The user's secrets and TLS credentials.
  virtual const CredentialStore& credentials() const = 0;
  /// The user's throttle groups; lives as long as the graph.
  virtual const ThrottleGroupStore& throttle_groups() const = 0;
  /// Opens the child described by options "name" (a node-name) or "name.*".
  /// Errors: kInvalidArgument when it is missing.
  virtual Task<Result<Child*>> open_child(std::string name, ChildRole role) = 0;
  /// Opens what the image names, if options or the resolver say so. Options win over the image.
  /// Empty when the resolver or OpenFlags::metadata_only leave it closed.
  virtual Task<Result<Child*>> open_reference(std::string name, ChildRole role,
                                              Reference reference) = 0;
};

/// A prepared reopen. commit() makes it so and cannot fail; destruction without it undoes.
class PreparedReopen {
 public:
  virtual ~PreparedReopen() = default;
  virtual void commit() noexcept = 0;
};

class FormatDriver;

/// While this lives, a driver holds back no request. See Driver::lift_limits().
class LiftedLimits {
 public:
  virtual ~LiftedLimits() = default;
};

/// One opened driver. Requests may come from any loop and overlap; the rest only from the control
/// loop with requests drained.
class Driver {
 public:
  virtual ~Driver() = default;

  virtual NodeInfo info() const = 0;
  /// The mapping interface, of drivers that map instead of moving data.
  virtual FormatDriver* format() noexcept { return nullptr; }

  /// Reads if that needs no waiting: empty means "call read()". Never suspends, never blocks long.
  virtual std::optional<Result<void>> read_now(ByteRange range, MutableBuffers into) noexcept;
  virtual std::optional<Result<void>> write_now(ByteRange range, ConstBuffers from) noexcept;

  /// Ranges are aligned to info().request_alignment and inside the device (writes: or may grow it).
  virtual Task<Result<void>> read(ByteRange range, MutableBuffers into);
  virtual Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags);
  /// Formats: whole subclusters, or up to the end of the device. kUnsupported: the layer writes.
  virtual Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags);
  virtual Task<Result<void>> discard(ByteRange range);
  /// Storage: see Child::reserve().
  virtual Task<Result<void>> reserve(ByteRange range);
  virtual Task<Result<void>> flush();
  virtual Task<Result<void>> resize(uint64_t size, ResizeFlags flags);
  /// Storage: which parts are holes. The default says everything is data.
  virtual Task<Result<Extent>> status(ByteRange range);

  /// The backing image this image names, if any.
  virtual std::optional<Reference> backing_reference() const { return std::nullopt; }
  virtual ImageInfo describe() const { return {}; }
  virtual Task<Result<CheckReport>> check(const CheckOptions& options);
  /// Where this image keeps dirty bitmaps; null: nowhere.
  virtual BitmapStore* bitmap_store() noexcept { return nullptr; }
  /// Where this image keeps states of machines; null: nowhere.
  virtual VmStateArea* vm_state() noexcept { return nullptr; }
  /// Bytes occupied in the host's file system; empty when unknown.
  virtual std::optional<uint64_t> allocated_size() const { return std::nullopt; }
  /// The options that open this again, for names shown to users; e.g. {"filename": "a.img"}.
  virtual OptionDict naming_options() const { return {}; }

  /// Takes what all parents together need and what they let others do (locks).
  /// Either succeeds or leaves everything as it was.
  virtual Result<void> apply_permissions(Permissions used, Permissions shared);
  virtual Task<Result<std::unique_ptr<PreparedReopen>>> prepare_reopen(OptionDict& options,
                                                                       const OpenFlags& flags);
  /// Somebody above waits for all requests. A driver that lets requests wait for anything but I/O
  /// lets them go on, and holds back none until the answer is destroyed, which may be after itself.
  virtual std::unique_ptr<LiftedLimits> lift_limits() { return nullptr; }
  /// Writes back everything. Called once, before destruction; errors are reported, then it closes.
  virtual Task<Result<void>> close();
};

/// A driver that says where data lives and leaves moving it to the layer.
/// Order is durability: the layer writes data before commit(); the driver keeps refcounts before
/// mappings, and mappings before reuse.
class FormatDriver : public Driver {
 public:
  FormatDriver* format() noexcept final { return this; }

  /// The answer if it is resident: no I/O, no lock, from any loop. Empty means "ask map()".
  virtual std::optional<Mapping> lookup(ByteRange guest) const noexcept = 0;
  /// Where does the start of `guest` live? Reads metadata, never guest data.
  virtual Task<Result<Mapping>> map(ByteRange guest) = 0;
  /// Finds room for the start of `guest`; lookup() does not show it until commit(). The layer holds
  /// a range lock on the clusters that `guest` touches from here to commit() or abandon().
  virtual Task<Result<Allocation>> allocate(ByteRange guest);
  /// Makes `written` visible, after its data is in place.
  virtual Task<Result<void>> commit(Allocation written);
  /// Gives the room back: its data could not be written.
  virtual Task<void> abandon(Allocation unused);

  /// Whether block status should ask the child for holes in what this maps as data, because much of
  /// the room was only reserved (preallocated metadata).
  virtual Task<Result<bool>> has_holes_below();

  /// Whether all mappings are where another process would find them.
  virtual bool settled() const noexcept { return true; }
  /// Makes it so for all mappings that there are now. They need not be durable.
  virtual Task<Result<void>> settle();

  /// Decodes `guest`, which lies inside `where.unit`.
  virtual Task<Result<void>> read_encoded(Encoded where, ByteRange guest, MutableBuffers into);
  /// Stores `guest`, one whole cluster or the shorter last one, encoded. Under the range lock.
  virtual Task<Result<void>> write_encoded(ByteRange guest, ConstBuffers from);
};

/// Creates files and opens them, for drivers that create images.
class CreateContext {
 public:
  virtual ~CreateContext() = default;
  /// The file that will hold the image, created empty with `size` and opened for writing.
  virtual Task<Result<Child*>> create_file(uint64_t size, Preallocation preallocation) = 0;
  /// A further file named by the options, e.g. an external data file.
  virtual Task<Result<Child*>> create_other(std::string filename, uint64_t size) = 0;
};

/// What `measure` knows of the data to come: a size, and optionally what is allocated.
class MeasureSource {
 public:
  virtual ~MeasureSource() = default;
  virtual uint64_t size() const = 0;
  /// Status of the start of `range`; everything is data when only a size is known.
  virtual Task<Result<Extent>> status(ByteRange range) = 0;
  /// True when no image stands behind it.
  virtual bool size_only() const = 0;
  /// The node below, for what only two of one format can tell each other; may be null.
  virtual const Driver* driver() const = 0;
};

enum class NodeKind : uint8_t { kStorage, kFormat, kFilter };

/// One kind of driver, as the list in builtin.cc has it.
struct DriverSpec {
  std::string_view name;
  std::string_view summary;
  NodeKind kind = NodeKind::kStorage;

  Task<Result<std::unique_ptr<Driver>>> (*open)(OpenContext& context) = nullptr;
  /// Rows of the open options.
  std::vector<OptionDescription> (*open_options)() = nullptr;
  /// Open options that are objects.
  std::span<const ObjectOption> objects{};

  /// How sure the format is that `head` (the first bytes, at most 2048) is its: 0 no, 100 yes.
  int (*probe)(std::span<const std::byte> head) = nullptr;

  /// Creates an image. `options` has "size" and what create_options() names.
  Task<Result<void>> (*create)(CreateContext& context, OptionDict options) = nullptr;
  std::vector<OptionDescription> (*create_options)() = nullptr;
  Task<Result<Measurement>> (*measure)(MeasureSource& source, OptionDict options) = nullptr;

  /// Storage that a plain file name or `prefix:` selects, e.g. "file", "null-co".
  std::string_view filename_prefix{};
  /// Options from a file name with that prefix.
  Result<OptionDict> (*parse_filename)(std::string_view filename) = nullptr;
  /// Storage: makes an empty file of `options["size"]`, without opening it.
  Task<Result<void>> (*create_file)(std::string filename, OptionDict options) = nullptr;
  /// Storage: removes a file that create_file() has made, when creating the image in it failed.
  Task<Result<void>> (*delete_file)(std::string filename) = nullptr;
  bool supports_backing = false;
  /// Images of the format can store data compressed (NodeInfo::Compression says whether one can).
  bool supports_compression = false;
  /// Images of the format can hold persistent dirty bitmaps.
  bool supports_bitmaps = false;
  /// Images of the format can hold internal snapshots.
  bool supports_snapshots = false;
};

}  // namespace ashlar
