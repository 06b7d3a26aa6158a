// The NBD export: its options, what it is to its backend, how it starts and ends.
#include "exports/nbd/nbd.h"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <optional>
#include <utility>

#include "exports/nbd/bitmap_context.h"
#include "exports/nbd/server.h"

namespace ashlar {
namespace {

using nbd::BitmapContext;
using nbd::ContextSet;
using nbd::kMaxString;
using nbd::ServedExport;

struct NbdOptions {
  std::optional<std::string> name;
  std::optional<std::string> description;
  bool allocation_depth = false;
  static constexpr auto table() {
    return std::array{
        option("name", &NbdOptions::name, "what clients ask for; default: the node's name"),
        option("description", &NbdOptions::description, "text for people"),
        option("allocation-depth", &NbdOptions::allocation_depth,
               "offer the context qemu:allocation-depth", "off"),
    };
  }
};

constexpr std::array kObjects{ObjectOption{.name = "bitmaps",
                                           .kind = ObjectOption::Kind::kBitmaps,
                                           .need = ObjectOption::Need::kOptional}};

Result<void> check_length(std::string_view what, const std::string& text) {
  if (text.size() <= kMaxString) return ok();
  return fail(Error(ErrorCode::kInvalidArgument, fmt::format("export {} has {} bytes, more than {}",
                                                             what, text.size(), kMaxString))
                  .because("nbd-export-text", {std::string(what), text}));
}

Result<NbdOptions> take_nbd_options(OptionDict& dict) {
  Result<NbdOptions> options = take_options<NbdOptions>(dict);
  if (!options) return options;
  if (options->name) {
    if (Result<void> fits = check_length("name", *options->name); !fits) return fail(fits.error());
  }
  if (options->description) {
    if (Result<void> fits = check_length("description", *options->description); !fits) {
      return fail(fits.error());
    }
  }
  if (!dict.empty()) {
    const std::string& key = dict.entries().front().first;
    return fail(Error(ErrorCode::kInvalidArgument, "an NBD export has no option \"" + key + "\"")
                    .because("option-unknown", {"nbd", key}));
  }
  return options;
}

/// The bitmaps in `dict`: "0", or "0.node" and "0.name", and so on.
Result<std::vector<BitmapName>> take_bitmaps(OptionDict& dict) {
  OptionDict given = dict.take_subtree("bitmaps");
  std::vector<BitmapName> bitmaps;
  for (size_t index = 0; !given.empty(); ++index) {
    const std::string number = std::to_string(index);
    std::optional<std::string> name = given.take_text(number);
    if (!name) name = given.take_text(number + ".name");
    if (!name) {
      const std::string& key = given.entries().front().first;
      return fail(
          Error(ErrorCode::kInvalidArgument, "an NBD export has no option \"bitmaps." + key + "\"")
              .because("option-unknown", {"nbd", "bitmaps." + key}));
    }
    bitmaps.push_back({.node = given.take_text(number + ".node").value_or(std::string()),
                       .name = std::move(*name)});
  }
  return bitmaps;
}

/// Nothing keeps the bits of `loaded` up to date: nobody may write what they are about.
Result<void> check_steady(const LoadedBitmap& loaded) {
  if (loaded.bitmap.state != PersistentBitmap::State::kEnabled) return ok();
  if (loaded.image == LoadedBitmap::Image::kReadOnly) return ok();
  const std::string& name = loaded.bitmap.name;
  return fail(Error(ErrorCode::kUnsupported,
                    fmt::format("bitmap \"{}\" is enabled, and can be offered only while its image "
                                "is open to read only",
                                name))
                  .because("bitmap-enabled", {name}));
}

/// Clients are told the size when they connect; the protocol has no message for a change.
class NbdExport final : public Export, private DeviceCallbacks {
 public:
  explicit NbdExport(ExportSetup setup) : setup_(std::move(setup)) {}

  Task<Result<void>> start(NbdOptions options);

  // Export
  bool in_use() const override { return setup_.nbd_server->clients_of(served_) != 0; }
  Task<void> close() override;

 private:
  // DeviceCallbacks
  void medium_changed(Medium) override {
    for (const auto& bitmap : bitmaps_) bitmap->set_stale();
  }
  std::string describe() const override { return "NBD export \"" + setup_.id + "\""; }

  Result<void> take_backend();
  Task<Result<void>> load_bitmaps();
  void let_go();

  ExportSetup setup_;
  std::vector<std::unique_ptr<BitmapContext>> bitmaps_;
  ServedExport served_;
};

Result<void> NbdExport::take_backend() {
  Backend& backend = *setup_.backend;
  if (Result<void> attached = backend.attach_device(*this, Backend::Origin::kIndependent);
      !attached) {
    return attached;
  }
  Permissions used = Permission::kConsistentRead;
  if (setup_.writable) used = used | Permission::kWrite;
  if (setup_.write_through) backend.set_write_cache(Backend::WriteCache::kThrough);
  return backend.set_permissions(used, Permissions::all());
}

void NbdExport::let_go() {
  if (setup_.backend->device() == this) setup_.backend->detach_device();
  setup_.backend = BackendRef();
}

Task<Result<void>> NbdExport::load_bitmaps() {
  const Result<std::vector<BitmapName>> bitmaps = take_bitmaps(setup_.options);
  if (!bitmaps) co_return fail(bitmaps.error());
  for (const BitmapName& each : *bitmaps) {
    Result<LoadedBitmap> loaded = co_await load_bitmap(*setup_.backend, each);
    if (!loaded) co_return fail(loaded.error());
    const Result<void> steady = check_steady(*loaded);
    if (!steady) co_return steady;
    bitmaps_.push_back(std::make_unique<BitmapContext>(std::move(*loaded)));
    served_.contexts.add(*bitmaps_.back());
  }
  co_return ok();
}

Task<Result<void>> NbdExport::start(NbdOptions options) {
  served_.name = options.name.value_or(setup_.node_name);
  served_.description = options.description.value_or(std::string());
  served_.backend = setup_.backend.get();
  served_.access =
      setup_.writable ? ServedExport::Access::kWritable : ServedExport::Access::kReadOnly;
  served_.contexts =
      ContextSet(options.allocation_depth ? ContextSet::Depth::kShown : ContextSet::Depth::kHidden);
  Result<void> started = take_backend();
  if (started) started = co_await load_bitmaps();
  if (started) started = setup_.nbd_server->add(served_);
  if (!started) let_go();
  co_return started;
}

Task<void> NbdExport::close() {
  if (!setup_.backend) co_return;
  // Requests that a failure holds would hold this too.
  setup_.backend->set_error_policy(ErrorPolicy::kReport, ErrorPolicy::kReport);
  setup_.backend->resume();
  co_await setup_.nbd_server->remove(served_);
  let_go();
}

Task<Result<std::unique_ptr<Export>>> start_nbd_export(ExportSetup setup) {
  if (setup.nbd_server == nullptr) {
    co_return fail(
        Error(ErrorCode::kNotFound, "no NBD server is running").because("nbd-server-missing"));
  }
  OptionDict others = setup.options;
  setup.options = OptionDict();
  setup.options.add_subtree("bitmaps", others.take_subtree("bitmaps"));
  const Result<NbdOptions> options = take_nbd_options(others);
  if (!options) co_return fail(options.error());
  auto running = std::make_unique<NbdExport>(std::move(setup));
  const Result<void> started = co_await running->start(*options);
  if (!started) co_return fail(started.error());
  std::unique_ptr<Export> done = std::move(running);
  co_return std::move(done);
}

}  // namespace

constinit const ExportSpec nbd_export{
    .name = "nbd",
    .summary = "a disk for NBD clients",
    .options = describe_options<NbdOptions>,
    .objects = kObjects,
    .start = start_nbd_export,
};

}  // namespace ashlar
