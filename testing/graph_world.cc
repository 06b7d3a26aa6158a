// Drivers of the test world.
#include "testing/graph_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

namespace ashlar {

namespace {

// --- Storage.

struct MemoryOptions {
  std::string filename;
  uint64_t size = 0;
  std::optional<bool> refuse_write;
  static constexpr auto table() {
    return std::array{
        option("filename", &MemoryOptions::filename, "name of the file in the world"),
        option("size", &MemoryOptions::size, "of a new file without a name"),
        option("refuse-write", &MemoryOptions::refuse_write, "take no permission to write"),
    };
  }
};

Error world_error(ErrorCode code, const std::string& name) {
  return Error(code, "the world wants this to go wrong").within("use", name);
}

class MemoryDriver final : public Driver {
 public:
  MemoryDriver(MemoryOptions options, std::shared_ptr<WorldFile> file)
      : options_(std::move(options)), file_(std::move(file)), world_(GraphWorld::current()) {
    ++world_.open_drivers;
  }
  ~MemoryDriver() override {
    unlock();
    --world_.open_drivers;
  }

  NodeInfo info() const override {
    NodeInfo info;
    info.size = file_->bytes.size();
    info.end = NodeInfo::End::kGrows;
    return info;
  }
  Task<Result<void>> read(ByteRange range, MutableBuffers into) override {
    const Gate::Pass pass = co_await world_.requests.enter();
    if (world_.reads.fails()) co_return fail(world_error(ErrorCode::kIo, options_.filename));
    into.copy_from(std::span(file_->bytes).subspan(range.offset, range.length));
    co_return ok();
  }
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags) override {
    const Gate::Pass pass = co_await world_.requests.enter();
    if (world_.writes.fails()) co_return fail(world_error(world_.write_error, options_.filename));
    if (file_->bytes.size() < range.end()) file_->bytes.resize(range.end());
    from.copy_to(std::span(file_->bytes).subspan(range.offset, range.length));
    co_return ok();
  }
  Task<Result<void>> flush() override {
    if (world_.writes.fails()) co_return fail(world_error(world_.write_error, options_.filename));
    co_return ok();
  }
  Task<Result<void>> resize(uint64_t size, ResizeFlags) override {
    file_->bytes.resize(size);
    co_return ok();
  }
  OptionDict naming_options() const override {
    OptionDict naming;
    naming.set("filename", options_.filename);
    return naming;
  }

  Result<void> apply_permissions(Permissions used, Permissions shared) override {
    if (options_.refuse_write.value_or(false) && used.has(Permission::kWrite)) {
      return fail(Error(ErrorCode::kPermission, "no writing here").because("world-refused"));
    }
    if (world_.permissions.fails()) {
      return fail(world_error(ErrorCode::kLocked, options_.filename).because("world-locked"));
    }
    for (const WorldFile::Lock& lock : file_->locks) {
      if (lock.holder == this) continue;
      if (lock.shared.includes(used) && shared.includes(lock.used)) continue;
      return fail(Error(ErrorCode::kLocked, "file is locked").because("world-locked"));
    }
    unlock();
    if (!used.empty() || shared != Permissions::all()) file_->locks.push_back({this, used, shared});
    return ok();
  }

  Task<Result<std::unique_ptr<PreparedReopen>>> prepare_reopen(OptionDict& options,
                                                               const OpenFlags& flags) override;
  Task<Result<void>> close() override {
    const Gate::Pass pass = co_await world_.closing.enter();
    unlock();
    world_.closed.push_back(options_.filename);
    if (world_.closes.fails()) co_return fail(world_error(ErrorCode::kIo, options_.filename));
    co_return ok();
  }

 private:
  void unlock() {
    std::erase_if(file_->locks, [this](const auto& lock) { return lock.holder == this; });
  }

  MemoryOptions options_;
  std::shared_ptr<WorldFile> file_;
  GraphWorld& world_;
};

class CountedReopen final : public PreparedReopen {
 public:
  explicit CountedReopen(GraphWorld& world) : world_(world) { ++world_.reopens_pending; }
  ~CountedReopen() override { --world_.reopens_pending; }
  void commit() noexcept override {}

 private:
  GraphWorld& world_;
};

Task<Result<std::unique_ptr<PreparedReopen>>> MemoryDriver::prepare_reopen(OptionDict&,
                                                                           const OpenFlags& flags) {
  if (world_.reopens.fails()) co_return fail(world_error(ErrorCode::kIo, options_.filename));
  if (!flags.read_only && file_->read_only) {
    co_return fail(ErrorCode::kPermission, "the file cannot be written");
  }
  std::unique_ptr<PreparedReopen> prepared = std::make_unique<CountedReopen>(world_);
  co_return std::move(prepared);
}

Task<Result<std::unique_ptr<Driver>>> open_memory(OpenContext& context) {
  Result<MemoryOptions> options = take_options<MemoryOptions>(context.options());
  if (!options) co_return fail(options.error());
  GraphWorld& world = GraphWorld::current();
  co_await yield();
  if (world.opens.fails()) co_return fail(world_error(ErrorCode::kIo, options->filename));
  std::shared_ptr<WorldFile> file = make_file(options->size);
  if (!options->filename.empty()) {
    const auto found = world.files.find(options->filename);
    if (found == world.files.end()) {
      co_return fail(ErrorCode::kNotFound, fmt::format("no file \"{}\"", options->filename));
    }
    file = found->second;
  }
  if (file->read_only && !context.flags().read_only) {
    co_return fail(ErrorCode::kPermission, "the file cannot be written");
  }
  std::unique_ptr<Driver> driver =
      std::make_unique<MemoryDriver>(std::move(*options), std::move(file));
  co_return std::move(driver);
}

std::string without_prefix(std::string_view filename) {
  constexpr std::string_view kPrefix = "file:";
  if (filename.starts_with(kPrefix)) filename.remove_prefix(kPrefix.size());
  if (filename.starts_with("./")) filename.remove_prefix(2);
  return std::string(filename);
}

Result<OptionDict> parse_memory_name(std::string_view filename) {
  OptionDict options;
  options.set("filename", without_prefix(filename));
  return options;
}

struct MemoryCreateOptions {
  uint64_t size = 0;
  std::optional<bool> tidy;
  static constexpr auto table() {
    return std::array{
        option("size", &MemoryCreateOptions::size, "of the file"),
        option("tidy", &MemoryCreateOptions::tidy, "an option that only storage knows"),
    };
  }
};

Task<Result<void>> create_memory_file(std::string filename, OptionDict options) {
  Result<MemoryCreateOptions> taken = take_options<MemoryCreateOptions>(options);
  if (!taken) co_return fail(taken.error());
  GraphWorld::current().files[without_prefix(filename)] = make_file(taken->size);
  co_return ok();
}

Task<Result<void>> delete_memory_file(std::string filename) {
  GraphWorld::current().files.erase(without_prefix(filename));
  co_return ok();
}

constexpr DriverSpec kMemory{
    .name = "memory",
    .summary = "files of a test's world",
    .kind = NodeKind::kStorage,
    .open = open_memory,
    .open_options = describe_options<MemoryOptions>,
    .create_options = describe_options<MemoryCreateOptions>,
    .filename_prefix = "file",
    .parse_filename = parse_memory_name,
    .create_file = create_memory_file,
    .delete_file = delete_memory_file,
};

// --- Formats.

class ReopenableFormat : public FormatDriver {
 public:
  Task<Result<std::unique_ptr<PreparedReopen>>> prepare_reopen(OptionDict&,
                                                               const OpenFlags&) override {
    GraphWorld& world = GraphWorld::current();
    if (world.reopens.fails()) co_return fail(world_error(ErrorCode::kIo, "format"));
    std::unique_ptr<PreparedReopen> prepared = std::make_unique<CountedReopen>(world);
    co_return std::move(prepared);
  }
};

class RawDriver final : public ReopenableFormat {
 public:
  explicit RawDriver(Child* file) : file_(file) {}
  NodeInfo info() const override {
    NodeInfo info;
    info.size = file_->size();
    return info;
  }
  std::optional<Mapping> lookup(ByteRange guest) const noexcept override {
    return Mapping{guest.length, InFile{file_, guest.offset, true}};
  }
  Task<Result<Mapping>> map(ByteRange guest) override { co_return *lookup(guest); }
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override {
    return file_->resize(size, flags);
  }

 private:
  Child* file_;
};

Task<Result<std::unique_ptr<Driver>>> open_raw(OpenContext& context) {
  Result<Child*> file = co_await context.open_child("file", ChildRole::kFiltered);
  if (!file) co_return fail(file.error());
  std::unique_ptr<Driver> driver = std::make_unique<RawDriver>(*file);
  co_return std::move(driver);
}

constexpr DriverSpec kRaw{
    .name = "raw",
    .summary = "the file as it is",
    .kind = NodeKind::kFormat,
    .open = open_raw,
    .probe = [](std::span<const std::byte>) { return 1; },
};

constexpr size_t kClusters = 512;
constexpr uint64_t kCluster = 4096;

/// The first cluster of a "layer" file; the second says which clusters are there.
struct LayerHeader {
  std::array<char, 8> magic{};
  uint64_t size = 0;
  std::array<char, 512> backing{};
  std::array<char, 32> backing_format{};
};
constexpr std::array<char, 8> kMagic{'L', 'A', 'Y', 'E', 'R', '\n', 0, 1};

class LayerDriver final : public ReopenableFormat {
 public:
  LayerDriver(Child* file, NodeHost& host) : file_(file), host_(host) {}

  Task<Result<void>> load() {
    const MutableBuffers header(reinterpret_cast<std::byte*>(&header_), sizeof header_);
    Result<void> read = co_await file_->read({0, sizeof header_}, header);
    if (!read) co_return read;
    if (header_.magic != kMagic) {
      co_return fail(Error(ErrorCode::kWrongFormat, "not a layer").because("layer-magic"));
    }
    std::vector<std::byte> there(kClusters);
    const MutableBuffers table(there.data(), there.size());
    read = co_await file_->read({kCluster, there.size()}, table);
    for (size_t i = 0; i < kClusters; ++i) there_[i].store(there[i] != std::byte{0});
    co_return read;
  }

  NodeInfo info() const override {
    NodeInfo info;
    info.size = header_.size;
    info.cluster_size = kCluster;
    return info;
  }
  std::optional<Mapping> lookup(ByteRange guest) const noexcept override {
    const uint64_t index = guest.offset / kCluster;
    uint64_t end = index + 1;
    const bool there = there_[index].load();
    while (end * kCluster < guest.end() && there_[end].load() == there) ++end;
    Mapping mapping;
    mapping.length = end * kCluster - guest.offset;
    if (there) {
      mapping.where = InFile{file_, 2 * kCluster + guest.offset, true};
    } else {
      mapping.where = InBacking{};
    }
    return mapping;
  }
  Task<Result<Mapping>> map(ByteRange guest) override { co_return *lookup(guest); }
  Task<Result<Allocation>> allocate(ByteRange guest) override {
    Allocation room;
    const uint64_t start = align_down(guest.offset, kCluster);
    room.guest = {start, std::min(kCluster, header_.size - start)};
    room.child = file_;
    room.offset = 2 * kCluster + start;
    co_return room;
  }
  Task<Result<void>> commit(Allocation written) override {
    const uint64_t index = written.guest.offset / kCluster;
    const std::array one{std::byte{1}};
    const ConstBuffers from(one.data(), one.size());
    Result<void> noted = co_await file_->write({kCluster + index, 1}, from);
    if (noted) there_[index].store(true);
    co_return noted;
  }
  Task<Result<void>> flush() override { return file_->flush(); }
  std::optional<Reference> backing_reference() const override {
    if (header_.backing[0] == 0) return std::nullopt;
    return Reference{Reference::Kind::kBacking, header_.backing.data(),
                     header_.backing_format.data()};
  }
  /// A driver that finds its image corrupt, for tests.
  void find_corruption() { host_.image_corrupted(Error(ErrorCode::kCorrupt, "not what it was")); }

 private:
  Child* file_;
  NodeHost& host_;
  LayerHeader header_;
  std::array<std::atomic<bool>, kClusters> there_{};
};

Task<Result<std::unique_ptr<Driver>>> open_layer(OpenContext& context) {
  Result<Child*> file = co_await context.open_child("file", ChildRole::kPrimary);
  if (!file) co_return fail(file.error());
  auto driver = std::make_unique<LayerDriver>(*file, context.host());
  Result<void> loaded = co_await driver->load();
  if (!loaded) co_return fail(loaded.error());
  std::unique_ptr<Driver> opened = std::move(driver);
  co_return std::move(opened);
}

struct LayerCreateOptions {
  uint64_t size = 0;
  std::string backing_file;
  std::string backing_fmt;
  static constexpr auto table() {
    return std::array{
        option("size", &LayerCreateOptions::size, "virtual size"),
        option("backing_file", &LayerCreateOptions::backing_file, "name of the backing image"),
        option("backing_fmt", &LayerCreateOptions::backing_fmt, "format of the backing image"),
    };
  }
};

Task<Result<void>> create_layer(CreateContext& context, OptionDict options) {
  Result<LayerCreateOptions> taken = take_options<LayerCreateOptions>(options);
  if (!taken) co_return fail(taken.error());
  Result<Child*> file = co_await context.create_file(0, Preallocation::kOff);
  if (!file) co_return fail(file.error());
  const auto image = make_layer(taken->size, taken->backing_file, taken->backing_fmt);
  const ConstBuffers from(image->bytes.data(), image->bytes.size());
  if (GraphWorld::current().creations.fails()) {
    co_return fail(world_error(ErrorCode::kNoSpace, "the new image"));
  }
  co_return co_await (*file)->write({0, image->bytes.size()}, from);
}

constexpr DriverSpec kLayer{
    .name = "layer",
    .summary = "a copy-on-write layer",
    .kind = NodeKind::kFormat,
    .open = open_layer,
    .probe =
        [](std::span<const std::byte> head) {
          const bool match = head.size() >= kMagic.size() &&
                             std::memcmp(head.data(), kMagic.data(), kMagic.size()) == 0;
          return match ? 100 : 0;
        },
    .create = create_layer,
    .create_options = describe_options<LayerCreateOptions>,
    .supports_backing = true,
};

// --- A filter.

class PassDriver final : public Driver {
 public:
  explicit PassDriver(Child* file) : file_(file) {}
  NodeInfo info() const override { return file_->info(); }
  Task<Result<void>> read(ByteRange range, MutableBuffers into) override {
    return file_->read(range, into);
  }
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags) override {
    return file_->write(range, from, flags);
  }
  Task<Result<void>> flush() override { return file_->flush(); }

 private:
  Child* file_;
};

Task<Result<std::unique_ptr<Driver>>> open_pass(OpenContext& context) {
  Result<Child*> file = co_await context.open_child("file", ChildRole::kFiltered);
  if (!file) co_return fail(file.error());
  std::unique_ptr<Driver> driver = std::make_unique<PassDriver>(*file);
  co_return std::move(driver);
}

constexpr DriverSpec kPass{
    .name = "pass",
    .summary = "passes everything on",
    .kind = NodeKind::kFilter,
    .open = open_pass,
};

}  // namespace

WorldGraph::WorldGraph(Settings settings)
    : runtime_(settings.seed, settings.loops),
      graph_(std::make_unique<Graph>(
          runtime_, Graph::Options{world_drivers(), follow_references(), settings.limits})) {}

WorldGraph::~WorldGraph() {
  if (graph_) (void)sync_wait(runtime_, graph_->close());
}

Result<NodeRef> WorldGraph::open(std::string_view json, OpenFlags flags) {
  Result<OptionDict> options = OptionDict::parse_json(json);
  if (!options) return fail(options.error());
  return sync_wait(runtime_, graph_->open(std::move(*options), flags));
}

Result<NodeRef> WorldGraph::open_image(std::string filename, std::optional<std::string> format,
                                       OpenFlags flags) {
  Graph::Image image;
  image.filename = std::move(filename);
  image.format = std::move(format);
  image.flags = flags;
  return sync_wait(runtime_, graph_->open_image(std::move(image)));
}

std::vector<std::string> WorldGraph::node_names() const {
  std::vector<std::string> names;
  for (const Node* node : graph_->nodes()) names.push_back(node->name());
  return names;
}

Result<std::string> WorldGraph::read(Backend& backend, ByteRange range) {
  std::string text(range.length, '?');
  const MutableBuffers into(reinterpret_cast<std::byte*>(text.data()), text.size());
  Result<void> read = sync_wait(runtime_, backend.read(range, into));
  if (!read) return fail(read.error());
  return text;
}

Result<void> WorldGraph::write(Backend& backend, uint64_t offset, std::string_view text) {
  const ConstBuffers from(reinterpret_cast<const std::byte*>(text.data()), text.size());
  return sync_wait(runtime_, backend.write({offset, text.size()}, from, {}));
}

GraphWorld& GraphWorld::current() {
  return dynamic_cast<WorldRuntime&>(Loop::current().runtime()).world;
}

std::span<const DriverSpec* const> world_drivers() {
  static constexpr std::array<const DriverSpec*, 4> list{&kMemory, &kRaw, &kLayer, &kPass};
  return list;
}

std::shared_ptr<WorldFile> make_file(uint64_t size, uint8_t value) {
  auto file = std::make_shared<WorldFile>();
  file->bytes.assign(size, std::byte{value});
  return file;
}

std::shared_ptr<WorldFile> make_layer(uint64_t size, const std::string& backing,
                                      const std::string& backing_format) {
  LayerHeader header;
  header.magic = kMagic;
  header.size = size;
  std::copy(backing.begin(), backing.end(), header.backing.begin());
  std::copy(backing_format.begin(), backing_format.end(), header.backing_format.begin());
  auto file = make_file(2 * kCluster);
  std::memcpy(file->bytes.data(), &header, sizeof header);
  return file;
}

}  // namespace ashlar
