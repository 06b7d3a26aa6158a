// The FUSE export: its options, how it starts, what it hears from its backend, how it ends.
#include "exports/fuse/fuse.h"

#include <array>
#include <memory>
#include <utility>

#include "async/fuse_device.h"
#include "async/sync.h"
#include "exports/fuse/connection.h"
#include "exports/fuse/file.h"
#include "exports/fuse/mountpoint.h"

namespace ashlar {
namespace {

using fuse::Connection;
using fuse::ExportedFile;
using fuse::FileStatus;

constexpr std::array<std::string_view, 3> kAllowOther{"off", "on", "auto"};

struct FuseOptions {
  std::optional<std::string> mountpoint;
  bool growable = false;
  std::string allow_other = "auto";
  static constexpr auto table() {
    return std::array{
        option("mountpoint", &FuseOptions::mountpoint, "regular file to mount over"),
        option("growable", &FuseOptions::growable, "writing past the end makes it larger", "off"),
        choice_option("allow-other", &FuseOptions::allow_other, kAllowOther,
                      "let other users in; auto: where the system permits it", "auto"),
    };
  }
};

Connection::AllowOther allow_other_of(const FuseOptions& options) {
  if (options.allow_other == "on") return Connection::AllowOther::kOn;
  if (options.allow_other == "off") return Connection::AllowOther::kOff;
  return Connection::AllowOther::kWherePermitted;
}

Result<FuseOptions> take_fuse_options(OptionDict& dict) {
  Result<FuseOptions> options = take_options<FuseOptions>(dict);
  if (!options) return options;
  if (!options->mountpoint) {
    return fail(Error(ErrorCode::kInvalidArgument, "a FUSE export wants the option \"mountpoint\"")
                    .because("option-missing", {"mountpoint"}));
  }
  if (!dict.empty()) {
    const std::string& key = dict.entries().front().first;
    return fail(Error(ErrorCode::kInvalidArgument, "a FUSE export has no option \"" + key + "\"")
                    .because("option-unknown", {"fuse", key}));
  }
  return options;
}

class FuseExport final : public Export, private DeviceCallbacks {
 public:
  explicit FuseExport(ExportSetup setup) : setup_(std::move(setup)), connection_(setup_.loops) {}

  Task<Result<void>> start(FuseOptions options);

  // Export
  bool in_use() const override { return connection_.requests() != 0; }
  Task<void> close() override;

 private:
  // DeviceCallbacks
  void medium_changed(Medium) override { forget(); }
  void resized(uint64_t) override { forget(); }
  std::string describe() const override { return "FUSE export \"" + setup_.id + "\""; }

  Task<Result<void>> mount(const FuseOptions& options);
  Result<void> take_backend(const FuseOptions& options);
  void forget();
  Task<void> forget_cached();

  ExportSetup setup_;
  Connection connection_;
  std::optional<ExportedFile> file_;
  Scope forgetting_;
  bool forget_again_ = false;
  bool closing_ = false;
};

Result<void> FuseExport::take_backend(const FuseOptions& options) {
  Backend& backend = *setup_.backend;
  if (Result<void> attached = backend.attach_device(*this, Backend::Origin::kIndependent);
      !attached) {
    return attached;
  }
  Permissions used = Permission::kConsistentRead;
  if (setup_.writable) used = used | Permission::kWrite;
  if (setup_.writable && options.growable) used = used | Permission::kResize;
  if (setup_.write_through) backend.set_write_cache(Backend::WriteCache::kThrough);
  return backend.set_permissions(used, Permissions::all());
}

Task<Result<void>> FuseExport::mount(const FuseOptions& options) {
  Result<std::string> mountpoint = co_await fuse::find_mountpoint(*options.mountpoint);
  if (!mountpoint) co_return fail(mountpoint.error());
  const Result<ExportedFile::Others> others =
      co_await connection_.mount(std::move(*mountpoint), allow_other_of(options));
  if (!others) co_return fail(others.error());
  ExportedFile::Manners manners;
  if (setup_.writable) manners.access = ExportedFile::Access::kWritable;
  if (options.growable) manners.growth = ExportedFile::Growth::kByWriting;
  manners.others = *others;
  const ProcessOwner owner = process_owner();
  FileStatus status;
  status.user = owner.user;
  status.group = owner.group;
  status.changed_ns = Loop::current().wall_clock_ns();
  file_.emplace(*setup_.backend, manners, status);
  co_return co_await connection_.serve(*file_);
}

Task<Result<void>> FuseExport::start(FuseOptions options) {
  Result<void> started = take_backend(options);
  if (started) started = co_await mount(options);
  if (!started) co_await close();
  co_return started;
}

void FuseExport::forget() {
  if (closing_ || !file_) return;
  file_->touch(Loop::current().wall_clock_ns());
  forget_again_ = true;
  if (forgetting_.running() == 0) forgetting_.spawn(forget_cached());
}

/// The kernel waits for pages that are being read, so nothing waits for this but close().
Task<void> FuseExport::forget_cached() {
  while (std::exchange(forget_again_, false)) co_await connection_.forget_cached();
}

Task<void> FuseExport::close() {
  closing_ = true;
  if (!setup_.backend) co_return;
  // Requests that a failure holds would hold this too.
  setup_.backend->set_error_policy(ErrorPolicy::kReport, ErrorPolicy::kReport);
  setup_.backend->resume();
  co_await forgetting_.join();
  co_await connection_.close();
  if (setup_.backend->device() == this) setup_.backend->detach_device();
  setup_.backend = BackendRef();
}

Task<Result<std::unique_ptr<Export>>> start_fuse_export(ExportSetup setup) {
  const Result<FuseOptions> options = take_fuse_options(setup.options);
  if (!options) co_return fail(options.error());
  auto running = std::make_unique<FuseExport>(std::move(setup));
  const Result<void> started = co_await running->start(*options);
  if (!started) co_return fail(started.error());
  std::unique_ptr<Export> done = std::move(running);
  co_return std::move(done);
}

}  // namespace

constinit const ExportSpec fuse_export{
    .name = "fuse",
    .summary = "a regular file, by FUSE",
    .options = describe_options<FuseOptions>,
    .start = start_fuse_export,
};

}  // namespace ashlar
