// Opening: reading the header and tables, and what has to happen before the first change.
#include "formats/qcow2/check.h"
#include "formats/qcow2/describe.h"
#include "formats/qcow2/image.h"
#include "formats/qcow2/snapshot_table.h"
#include "formats/qcow2/snapshot_view.h"

namespace ashlar::qcow2 {

namespace {

Purpose purpose_of(const OpenFlags& flags) {
  if (flags.checking) return Purpose::kCheck;
  if (!flags.read_only) return Purpose::kWrite;
  return flags.metadata_only ? Purpose::kInspect : Purpose::kRead;
}

/// The external data file, if the image has one and it may be opened.
Task<Result<Child*>> open_data_file(OpenContext& context, const Header& header) {
  if (!header.has_data_file()) co_return nullptr;
  Reference reference;
  reference.kind = Reference::Kind::kDataFile;
  reference.name = header.data_file.value_or("");
  Result<Child*> child = co_await context.open_reference("data-file", ChildRole::kData, reference);
  if (child && *child == nullptr && !context.flags().metadata_only) {
    co_return fail(Error(ErrorCode::kInvalidArgument,
                         "the image keeps its data in another file, which is not opened")
                       .because("qcow2-data-file-missing"));
  }
  co_return child;
}

}  // namespace

Task<Result<std::unique_ptr<Driver>>> Image::open(OpenContext& context) {
  Result<OpenOptions> options = take_options<OpenOptions>(context.options());
  if (!options) co_return fail(options.error());
  Result<Child*> file = co_await context.open_child("file", ChildRole::kPrimary);
  if (!file) co_return fail(file.error());
  Result<Header> header = co_await read_header(**file);
  if (!header) co_return fail(header.error());
  const OpenFlags flags = context.flags();
  Result<void> usable = check_purpose(*header, purpose_of(flags), (*file)->size());
  if (!usable) co_return fail(usable.error());
  if (header->crypt_method != CryptMethod::kNone && !flags.metadata_only && !flags.checking) {
    co_return fail(Error(ErrorCode::kUnsupported, "the image is encrypted, which is not supported")
                       .because("qcow2-encryption"));
  }
  if (selects_snapshot(*options) && (!flags.read_only || flags.checking)) {
    co_return fail(Error(ErrorCode::kReadOnly, "snapshots inside an image can only be read")
                       .because("qcow2-snapshot-read-only"));
  }
  Result<Child*> data_file = co_await open_data_file(context, *header);
  if (!data_file) co_return fail(data_file.error());
  Parts parts{std::move(*header), std::move(*options), **file, *data_file, context.host(), flags};
  auto image = std::make_unique<Image>(std::move(parts));
  Result<void> loaded = co_await image->load();
  if (!loaded) co_return fail(loaded.error());
  std::unique_ptr<Driver> driver = std::move(image);
  co_return driver;
}

Image::Image(Parts parts)
    : header_(std::move(parts.header)),
      options_(std::move(parts.options)),
      file_(parts.file),
      data_file_(parts.data_file),
      host_(parts.host),
      flags_(parts.flags),
      ranges_(header_.cluster_bits),
      codec_(std::make_unique<Codec>(header_.compression)),
      size_(header_.virtual_size()) {}

Task<Result<void>> Image::load() {
  Result<ImageInfo> info = co_await read_description(header_, file_, purpose_of(flags_));
  if (!info) co_return fail(info.error());
  description_ = std::move(*info);
  if (selects_snapshot(options_)) {
    if (auto chosen = co_await view_snapshot(file_, header_, options_); !chosen) co_return chosen;
    size_.store(header_.virtual_size());
  }
  if (flags_.metadata_only && flags_.read_only) {
    // Nothing will be looked up: an image with a huge table is described as fast as any other.
    co_return ok();
  }
  if (!flags_.read_only && header_.misses_bitmaps()) {
    co_return fail(Error(ErrorCode::kCorrupt,
                         "autoclear feature bit 0 says that bitmaps are up to date, but there is "
                         "no bitmaps extension: the header cannot be trusted")
                       .because("qcow2-bitmaps-missing"));
  }
  make_caches();
  if (flags_.checking) co_return ok();
  Result<void> done = co_await l2_->load_l1();
  if (done) done = co_await refcounts_->load();
  if (!done || flags_.read_only) co_return done;
  co_return co_await prepare_for_writing();
}

void Image::make_caches() {
  const uint64_t l2_bytes = options_.l2_cache_size.value_or(options_.cache_size.value_or(32_MiB));
  L2Cache::Setup cache{header_, file_, host_.requests(), flags_.read_only ? nullptr : &ranges_,
                       l2_bytes};
  l2_ = std::make_unique<L2Cache>(cache);
  Refcounts::Setup counts{header_,
                          file_,
                          ranges_,
                          options_.refcount_cache_size.value_or(4_MiB),
                          [this] { return write_header(); },
                          [this](ClusterRun run) { free_later(run, false); }};
  refcounts_ = std::make_unique<Refcounts>(std::move(counts));
}

/// Everything that only writers need: where metadata is, trustworthy refcounts, no claims of
/// others.
Task<Result<void>> Image::prepare_for_writing() {
  note_metadata();
  if (Result<void> noted = co_await note_snapshots(); !noted) co_return noted;
  if (header_.is_dirty()) {
    // Whoever wrote last postponed refcounts and did not come to write them.
    CheckOptions options;
    options.repair = Repair::kAll;
    Result<CheckReport> report = co_await check(options);
    if (!report)
      co_return fail(
          report.error().within("repair the refcounts of an image not shut down cleanly"));
    if (report->corruptions != 0 || report->check_errors != 0) {
      co_return fail(
          Error(ErrorCode::kCorrupt, "the image was not shut down cleanly and cannot be repaired")
              .because("qcow2-dirty-repair"));
    }
    Result<void> reloaded = co_await l2_->load_l1();
    if (reloaded) reloaded = co_await refcounts_->load();
    if (!reloaded) co_return reloaded;
  }
  const uint64_t unknown = header_.autoclear_features & ~autoclear::kKnown;
  if (unknown != 0) {
    header_.autoclear_features &= autoclear::kKnown;
    if (Result<void> cleared = co_await write_header(); !cleared) co_return cleared;
  }
  started_writing_.store(header_.valid_bitmaps() == nullptr);
  co_return ok();
}

void Image::note_metadata() {
  ranges_.add({0, cluster_size()}, "header");
  ranges_.add({header_.refcount_table_offset, header_.refcount_table_clusters * cluster_size()},
              "refcount table");
  ranges_.add({header_.l1_table_offset, header_.l1_bytes()}, "active L1 table");
  for (uint64_t i = 0; i < l2_->l1_size(); ++i) {
    const L1Entry table = l2_->l1(i);
    if (table.offset() != 0) ranges_.add(cluster_range(table.offset()), "active L2 table");
  }
  if (header_.encryption) {
    ranges_.add({header_.encryption->offset, header_.encryption->length}, "encryption header");
  }
  if (const BitmapsExtension* bitmaps = header_.valid_bitmaps()) {
    ranges_.add({bitmaps->directory_offset, bitmaps->directory_size}, "bitmap directory");
  }
}

Task<Result<void>> Image::note_snapshots() {
  if (header_.snapshot_count == 0) co_return ok();
  const auto table = co_await read_snapshot_table(file_, header_, TableDamage::kRefuse);
  if (!table) co_return fail(table.error());
  ranges_.add({header_.snapshots_offset, table->bytes}, "snapshot table");
  // No image that anybody uses has more; hostile ones would fill the memory.
  constexpr uint64_t kMostBytes = 256_MiB;
  uint64_t noted = 0;
  for (const Snapshot& snapshot : table->snapshots) {
    if (snapshot.l1_size == 0 || snapshot_l1_problem(snapshot, header_)) continue;
    noted += snapshot.l1_bytes();
    if (noted > kMostBytes) break;
    ranges_.add({snapshot.l1_table_offset, snapshot.l1_bytes()}, "L1 table of a snapshot");
  }
  co_return ok();
}

Task<Result<void>> Image::write_header() {
  Result<std::vector<std::byte>> bytes = encode_header(header_);
  if (!bytes) co_return fail(bytes.error());
  const ConstBuffers from(bytes->data(), bytes->size());
  Result<void> written = co_await file_.write({0, bytes->size()}, from, {});
  if (written) written = co_await file_.flush();
  header_uncertain_ = !written;
  co_return written;
}

Task<Error> Image::mark_corrupt(Error error) {
  if (!corrupt_.exchange(true)) {
    // From here on nothing is written in place either: see map_entry().
    started_writing_.store(false);
    host_.image_corrupted(error);
    // Version 2 has no bit for it: this process at least writes no more.
    if (header_.version >= 3) {
      header_.incompatible_features |= incompatible::kCorrupt;
      static_cast<void>(co_await write_header());
    }
  }
  co_return error;
}

NodeInfo Image::info() const {
  NodeInfo info;
  info.size = size_.load();
  info.cluster_size = cluster_size();
  info.subcluster_size = header_.has_extended_l2() ? header_.subcluster_size() : 0;
  // Version 2 has no zero clusters: without a cluster of its own, the backing file shows.
  if (header_.version >= 3 || !host_.has_backing()) info.zeroes = NodeInfo::Zeroes::kNative;
  info.discards = NodeInfo::Discards::kNative;
  info.fresh = NodeInfo::Fresh::kZeroes;
  info.writers = data_child().info().writers;
  if (data_file_ == nullptr) info.compression = NodeInfo::Compression::kWrites;
  return info;
}

std::optional<Reference> Image::backing_reference() const {
  if (header_.backing_file.empty()) return std::nullopt;
  return Reference{Reference::Kind::kBacking, header_.backing_file,
                   header_.backing_format.value_or("")};
}

ImageInfo Image::describe() const { return description_; }

Task<Result<CheckReport>> Image::check(const CheckOptions& options) {
  Result<CheckReport> report = co_await check_image(file_, header_, options);
  // The repair of a corrupt image is what lets it be written again.
  if (report && options.repair == Repair::kAll) corrupt_.store(header_.is_corrupt());
  co_return report;
}

}  // namespace ashlar::qcow2
