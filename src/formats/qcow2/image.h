// The qcow2 driver: one opened image. What it maps, how it changes, in which order that becomes
// durable. Specification: docs/interop/qcow2.rst; the order is in docs/formats/qcow2-writing.md.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ashlar/driver.h"
#include "async/sync.h"
#include "async/turns.h"
#include "formats/qcow2/bitmap_directory.h"
#include "formats/qcow2/compression.h"
#include "formats/qcow2/decoded_cache.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/l2_cache.h"
#include "formats/qcow2/metadata_ranges.h"
#include "formats/qcow2/open_options.h"
#include "formats/qcow2/refcounts.h"
#include "graph/backing_name.h"
#include "graph/bitmap_keeper.h"

namespace ashlar::qcow2 {

/// One opened qcow2 image.
///
/// Locks, outermost first: writeback_ (one write-back at a time), metadata_ (all changes of tables
/// and refcounts in memory). Lookups take neither. Neither is held while guest data moves.
class Image final : public FormatDriver,
                    public BackingNameKeeper,
                    private BitmapKeeper,
                    private VmStateArea {
 public:
  struct Parts {
    Header header;
    OpenOptions options;
    Child& file;
    Child* data_file = nullptr;  ///< null: data is in `file`
    NodeHost& host;
    OpenFlags flags;
  };
  static Task<Result<std::unique_ptr<Driver>>> open(OpenContext& context);

  explicit Image(Parts parts);

  NodeInfo info() const override;
  std::optional<Reference> backing_reference() const override;
  ImageInfo describe() const override;
  Task<Result<CheckReport>> check(const CheckOptions& options) override;
  Task<Result<std::unique_ptr<PreparedReopen>>> prepare_reopen(OptionDict& options,
                                                               const OpenFlags& flags) override;
  Task<Result<void>> close() override;
  BitmapStore* bitmap_store() noexcept override { return header_.version >= 3 ? this : nullptr; }

  VmStateArea* vm_state() noexcept override { return l2_ != nullptr ? this : nullptr; }

  // vm_state.cc
  uint64_t vm_state_offset() const override;
  Task<Result<void>> read_vm_state(ByteRange range, MutableBuffers into) override;
  Task<Result<void>> write_vm_state(ByteRange range, ConstBuffers from) override;

  // bitmaps.cc
  Task<Result<std::vector<PersistentBitmap>>> list_bitmaps() override;
  Task<Result<std::vector<std::byte>>> read_bitmap(std::string name) override;
  Task<Result<void>> add_bitmap(PersistentBitmap bitmap, std::vector<std::byte> bits) override;

  // backing_name.cc
  Task<Result<void>> set_backing_name(std::string name, std::string format) override;

  // kept_bitmaps.cc
  bool bitmaps_are_marked() const noexcept override { return !bitmaps_marked_.empty(); }
  Task<Result<void>> mark_bitmaps() override;
  Task<Result<void>> save_bitmaps(std::vector<Kept> kept,
                                  std::vector<std::string> removed) override;

  // mapping.cc
  std::optional<Mapping> lookup(ByteRange guest) const noexcept override;
  Task<Result<Mapping>> map(ByteRange guest) override;
  Task<Result<bool>> has_holes_below() override;
  bool settled() const noexcept override { return settled_.load() >= mapping_changes_.load(); }

  // allocate.cc
  Task<Result<Allocation>> allocate(ByteRange guest) override;
  Task<Result<void>> commit(Allocation written) override;
  Task<void> abandon(Allocation unused) override;

  // compressed.cc
  Task<Result<void>> read_encoded(Encoded where, ByteRange guest, MutableBuffers into) override;
  Task<Result<void>> write_encoded(ByteRange guest, ConstBuffers from) override;

  // zero_discard.cc
  Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags) override;
  Task<Result<void>> discard(ByteRange range) override;

  // flush.cc
  Task<Result<void>> flush() override;
  Task<Result<void>> settle() override;

  // resize.cc
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override;

 private:
  class Reopening;
  /// What an entry becomes when its range is zeroed or discarded.
  enum class Clear : uint8_t {
    kZeroKeepRoom,  ///< zero, clusters stay reserved
    kZero,          ///< zero, clusters are freed
    kDiscard,       ///< whatever the format's discard means here
    kForget,        ///< unallocated, clusters are freed: beyond a smaller end
  };

  EntryRules rules() const {
    return {header_.has_extended_l2(), header_.has_data_file(), header_.version < 3};
  }
  uint64_t cluster_size() const { return header_.cluster_size(); }
  uint64_t cluster_of(uint64_t offset) const { return offset >> header_.cluster_bits; }
  Child& data_child() const { return data_file_ != nullptr ? *data_file_ : file_; }
  ByteRange cluster_range(uint64_t host_offset) const { return {host_offset, cluster_size()}; }
  /// Whether clusters that guests discard are punched out of the file.
  bool passes_discards() const {
    return options_.pass_discard_request.value_or(flags_.discard == OpenFlags::Discard::kUnmap);
  }

  // open.cc
  Task<Result<void>> load();
  void make_caches();
  Task<Result<void>> prepare_for_writing();
  /// Writes the header, durably.
  Task<Result<void>> write_header();
  /// Sets the corrupt bit, now and for good; gives the error back.
  Task<Error> mark_corrupt(Error error);
  void note_metadata();
  Task<Result<void>> note_snapshots();

  // mapping.cc
  std::optional<Mapping> map_entry(const ExtendedL2Entry& entry, uint64_t guest,
                                   bool suspicious) const noexcept;
  Mapping extend(const L2Slice& slice, ByteRange guest, Mapping first) const noexcept;
  uint64_t empty_l1_length(ByteRange guest) const noexcept;
  Error corrupt_entry(uint64_t guest, const ExtendedL2Entry& entry) const;

  // bitmaps.cc
  /// New bitmaps beside the old ones, until the header points to them.
  struct NewBitmaps {
    BitmapsExtension extension;
    std::vector<ClusterRun> made;      ///< to be freed if the header never comes to point there
    std::vector<ClusterRun> replaced;  ///< to be freed once it does
  };
  Task<Result<BitmapEntry>> find_bitmap(std::string_view name);
  Task<Result<uint64_t>> write_table(std::span<const std::byte> bytes, NewBitmaps& change);
  Task<Result<void>> write_directory(std::span<const BitmapEntry> bitmaps, uint64_t size,
                                     NewBitmaps& change);
  Task<Result<BitmapEntry>> write_bitmap(const PersistentBitmap& bitmap,
                                         std::span<const std::byte> bits, NewBitmaps& change);
  Task<Result<void>> prepare_bitmaps_for(uint64_t size);
  Task<Result<void>> fill_new_bitmaps(uint64_t size, std::vector<BitmapEntry> bitmaps,
                                      NewBitmaps& change);
  Task<Result<BitmapEntry>> bitmap_for(uint64_t size, const BitmapEntry& old, NewBitmaps& change);
  Task<Result<BitmapTableEntry>> shortened_part(BitmapTableEntry entry, uint64_t bits,
                                                NewBitmaps& change);
  Task<void> drop_new_bitmaps();
  Task<Result<void>> switch_to_new_bitmaps(uint64_t size);
  Result<void> check_new_bitmap(const PersistentBitmap& bitmap, uint64_t bytes) const;

  // kept_bitmaps.cc
  enum class Marked : uint8_t { kEnabled, kAll };
  Task<Result<void>> mark_bitmaps_in_use(Marked which);
  Task<Result<void>> note_clusters_of(const BitmapEntry& old, NewBitmaps& change);
  Task<Result<void>> fill_saved_bitmaps(std::vector<BitmapEntry> entries, std::vector<Kept> kept,
                                        NewBitmaps& change);
  Task<Result<void>> finish_new_bitmaps(Result<void> filled);

  // allocate.cc. All under metadata_.
  Result<void> check_writable() const;
  Task<Result<void>> begin_writing();
  Task<Result<void>> ensure_table(uint64_t cluster);
  Task<Result<ExtendedL2Entry>> read_entry(uint64_t cluster);
  Task<Result<void>> store_entries(uint64_t cluster, std::span<const ExtendedL2Entry> entries);
  bool has_own_room(const ExtendedL2Entry& entry) const;
  bool copied_whole(const ExtendedL2Entry& entry) const;
  Task<Result<uint64_t>> count_to_allocate(ByteRange guest);
  Task<Result<Allocation>> allocate_new(ByteRange guest, uint64_t clusters, uint64_t unit);
  void note_partly_written(ByteRange room);
  Task<Result<Allocation>> use_room(ByteRange guest, ExtendedL2Entry entry);
  Allocation allocation_for(ByteRange guest, ClusterRun run, uint64_t unit, uint64_t token) const;
  ExtendedL2Entry committed_entry(const ExtendedL2Entry& old, const Allocation& written,
                                  uint64_t cluster) const;
  /// Notes that nothing but what is durable points to the old contents any more.
  void free_entry(const ExtendedL2Entry& old);
  void free_later(ClusterRun run, bool punch);

  // vm_state.cc
  Task<Result<void>> read_area(ByteRange guest, MutableBuffers into);
  Task<Result<void>> write_in_cluster(uint64_t guest, ConstBuffers from);

  // zero_discard.cc
  Task<Result<void>> clear(ByteRange range, Clear how);
  Task<Result<uint64_t>> clear_in_slice(ByteRange range, Clear how);
  ExtendedL2Entry cleared(const ExtendedL2Entry& old, ByteRange part, Clear how) const;

  // compressed.cc
  struct CompressedRoom {
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  Task<Result<size_t>> encode(std::span<const std::byte> plain, std::span<std::byte> into);
  Task<Result<CompressedRoom>> room_for(ByteRange guest, uint64_t length);
  Task<Result<CompressedRoom>> allocate_compressed(uint64_t length);
  Task<Result<void>> write_uncompressed(ByteRange guest, ConstBuffers from);
  Task<Result<void>> commit_compressed(uint64_t guest, CompressedRoom room);

  // flush.cc
  struct Pending {
    ClusterRun run;
    bool punch = false;
    uint64_t phase = 0;
  };
  struct Round;
  Task<Result<void>> write_back();
  Task<Result<void>> write_round(Round& round);
  Task<Result<void>> write_refcounts(const Round& round);
  Task<Result<void>> write_slices(const Round& round);
  Task<Result<void>> write_l1(const Round& round);
  void end_round(Round& round, Result<void> result);
  Task<Result<void>> sync_children();
  Task<void> fill_room(const Round& round);
  Task<Result<void>> write_size();
  Task<Result<void>> release_freed();
  Task<Result<void>> count_down(std::vector<Pending>& ready);
  void end_lookups();
  Task<Result<void>> limit_dirty();

  // resize.cc
  Task<Result<void>> grow(uint64_t size, Preallocation preallocation);
  Task<Result<void>> shrink(uint64_t size);
  Task<Result<void>> grow_l1(uint64_t entries);
  Task<Result<void>> forget_from(uint64_t end);
  Task<Result<void>> drop_tables_from(uint64_t l1_index);
  Task<Result<void>> preallocate(ByteRange range, Preallocation mode);
  Task<Result<uint64_t>> preallocate_some(ByteRange range, Preallocation mode);
  Task<Result<void>> zero_room(ByteRange room, Preallocation mode);
  Task<Result<void>> truncate_file();

  Header header_;
  OpenOptions options_;
  Child& file_;
  Child* data_file_;
  NodeHost& host_;
  OpenFlags flags_;
  MetadataRanges ranges_;
  std::unique_ptr<L2Cache> l2_;
  std::unique_ptr<Refcounts> refcounts_;
  std::unique_ptr<Codec> codec_;
  DecodedCache decoded_;
  ImageInfo description_;

  Mutex writeback_;
  Mutex metadata_;
  Mutex settling_;  // outside of both: one write-back for all who wait
  std::atomic<uint64_t> mapping_changes_{0};
  std::atomic<uint64_t> settled_{0};  // of them: written
  std::atomic<bool> corrupt_{false};
  std::atomic<bool> started_writing_{false};
  std::atomic<int> holes_below_{-1};  // unknown, no, yes
  std::atomic<uint64_t> size_;

  std::optional<NewBitmaps> new_bitmaps_;
  std::vector<std::string> bitmaps_marked_;  // as in use, since the image was opened

  // Under metadata_.
  std::vector<Pending> pending_;  // unmapped in memory, not yet durably
  std::atomic<size_t> pending_count_{0};
  std::vector<ByteRange> partly_written_;  // new room in `file`, beyond its end when it was found
  std::vector<Pending> limbo_;      // unmapped durably; in-flight requests may still know them
  bool header_uncertain_ = false;   // what a failed write of it left is not known
  uint64_t compressed_cursor_ = 0;  // next free byte of a partly used cluster; 0: none

  std::atomic<uint64_t> encoded_started_{0};  // writes of compressed clusters, to give turns
  Turns encoded_turns_;
};

}  // namespace ashlar::qcow2
