// The NBD export: its options, what it is to its backend, how it starts and ends.
#include "exports/nbd/nbd.h"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <optional>
#include <utility>

#include "exports/nbd/server.h"

namespace ashlar {
namespace {

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
  const OptionDict bitmaps = dict.take_subtree("bitmaps");
  if (!bitmaps.empty()) {
    const std::string first = *bitmaps.text(bitmaps.entries().front().first);
    return fail(Error(ErrorCode::kNotFound, "bitmap \"" + first + "\" is not there")
                    .because("bitmap-not-found", {first}));
  }
  if (!dict.empty()) {
    const std::string& key = dict.entries().front().first;
    return fail(Error(ErrorCode::kInvalidArgument, "an NBD export has no option \"" + key + "\"")
                    .because("option-unknown", {"nbd", key}));
  }
  return options;
}

/// Clients are told the size when they connect; the protocol has no message for a change.
class NbdExport final : public Export, private DeviceCallbacks {
 public:
  explicit NbdExport(ExportSetup setup) : setup_(std::move(setup)) {}

  Result<void> start(const NbdOptions& options);

  // Export
  bool in_use() const override { return setup_.nbd_server->clients_of(served_) != 0; }
  Task<void> close() override;

 private:
  // DeviceCallbacks
  std::string describe() const override { return "NBD export \"" + setup_.id + "\""; }

  Result<void> take_backend();
  void let_go();

  ExportSetup setup_;
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

Result<void> NbdExport::start(const NbdOptions& options) {
  served_.name = options.name.value_or(setup_.node_name);
  served_.description = options.description.value_or(std::string());
  served_.backend = setup_.backend.get();
  served_.access =
      setup_.writable ? ServedExport::Access::kWritable : ServedExport::Access::kReadOnly;
  served_.contexts =
      ContextSet(options.allocation_depth ? ContextSet::Depth::kShown : ContextSet::Depth::kHidden);
  Result<void> started = take_backend();
  if (started) started = setup_.nbd_server->add(served_);
  if (!started) let_go();
  return started;
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
  const Result<NbdOptions> options = take_nbd_options(setup.options);
  if (!options) co_return fail(options.error());
  auto running = std::make_unique<NbdExport>(std::move(setup));
  const Result<void> started = running->start(*options);
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
