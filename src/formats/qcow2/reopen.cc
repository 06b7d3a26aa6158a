// Reopening: between read-only and writable, and with other options. Requests are drained.
#include "formats/qcow2/image.h"
#include "formats/qcow2/snapshot_view.h"

namespace ashlar::qcow2 {

/// Everything that can fail has been done; commit() switches.
class Image::Reopening final : public PreparedReopen {
 public:
  Reopening(Image& image, OpenOptions options, const OpenFlags& flags)
      : image_(image), options_(std::move(options)), flags_(flags), old_flags_(image.flags_) {}
  ~Reopening() override {
    if (!committed_) image_.flags_ = old_flags_;
  }
  void commit() noexcept override {
    image_.options_ = std::move(options_);
    image_.flags_ = flags_;
    committed_ = true;
  }

 private:
  Image& image_;
  OpenOptions options_;
  OpenFlags flags_;
  OpenFlags old_flags_;
  bool committed_ = false;
};

Task<Result<std::unique_ptr<PreparedReopen>>> Image::prepare_reopen(OptionDict& options,
                                                                    const OpenFlags& flags) {
  Result<OpenOptions> parsed = take_options<OpenOptions>(options);
  if (!parsed) co_return fail(parsed.error());
  const bool same_view = parsed->snapshot_id == options_.snapshot_id &&
                         parsed->snapshot_name == options_.snapshot_name;
  if (!same_view || (selects_snapshot(*parsed) && !flags.read_only)) {
    co_return fail(
        Error(ErrorCode::kUnsupported, "which snapshot is shown cannot be changed by reopening")
            .because("qcow2-snapshot-reopen"));
  }
  auto prepared = std::make_unique<Reopening>(*this, std::move(*parsed), flags);
  if (flags_.read_only && !flags.read_only) {
    Result<void> usable = check_purpose(header_, Purpose::kWrite, file_.size());
    if (!usable) co_return fail(usable.error());
    // Tables that were loaded for reading only have not been inspected: load them again.
    flags_.read_only = false;
    make_caches();
    Result<void> ready = co_await l2_->load_l1();
    if (ready) ready = co_await refcounts_->load();
    if (ready) ready = co_await prepare_for_writing();
    if (!ready) co_return fail(ready.error());
  } else if (!flags_.read_only && flags.read_only) {
    Result<void> written = co_await close();
    if (!written) co_return fail(written.error());
  }
  std::unique_ptr<PreparedReopen> result = std::move(prepared);
  co_return result;
}

}  // namespace ashlar::qcow2
