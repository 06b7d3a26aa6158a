// Changing how a file is opened, while its node stays.
#include <fcntl.h>
#include <fmt/format.h>

#include "drivers/file/file_driver.h"
#include "drivers/file/file_options.h"

namespace ashlar::file {
namespace {

/// Some options are fixed for as long as the node exists.
Result<void> refuse_change(std::string_view option) {
  return fail(Error(ErrorCode::kInvalidArgument,
                    fmt::format("option \"{}\" cannot change while the file is open", option))
                  .because("reopen-option", {std::string(option)}));
}

}  // namespace

/// Has everything that can fail behind it: a new descriptor where one is needed.
class FileDriver::Reopening final : public PreparedReopen {
 public:
  Reopening(FileDriver& driver, FileSetup setup, Descriptor descriptor, Alignment alignment)
      : driver_(driver),
        setup_(std::move(setup)),
        descriptor_(std::move(descriptor)),
        alignment_(alignment) {}

  void commit() noexcept override {
    const bool takes_over = driver_.setup_.flags.read_only && !setup_.flags.read_only;
    driver_.setup_ = std::move(setup_);
    if (descriptor_) {
      driver_.alignment_ = alignment_;
      Descriptor old = std::exchange(driver_.descriptor_, std::move(descriptor_));
      const bool keeps_locks =
          driver_.locked_ || !driver_.locks_.move_to(driver_.descriptor_.get());
      if (keeps_locks && !driver_.locked_) driver_.locked_ = std::move(old);
    }
    // Another host may have written to the file while we had it open for reading.
    if (takes_over && driver_.setup_.drop_cache && !driver_.setup_.flags.cache_direct) {
      (void)::posix_fadvise(driver_.descriptor_.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
    driver_.loops_[0].changes.add_removal();
    driver_.loops_[0].changes.add_write();
  }

 private:
  FileDriver& driver_;
  FileSetup setup_;
  Descriptor descriptor_;
  Alignment alignment_;
};

Task<Result<std::unique_ptr<PreparedReopen>>> FileDriver::prepare_reopen(OptionDict& options,
                                                                         const OpenFlags& flags) {
  const Result<FileOptions> changed = take_options<FileOptions>(options);
  if (!changed) co_return fail(changed.error());
  if (!changed->filename.empty() && changed->filename != setup_.path) {
    co_return fail(refuse_change("filename").error());
  }
  if (changed->locking && *changed->locking != setup_.locking) {
    co_return fail(refuse_change("locking").error());
  }
  FileSetup setup = setup_;
  setup.flags = flags;
  setup.aio = changed->aio.value_or(setup_.aio);
  setup.drop_cache = changed->drop_cache.value_or(setup_.drop_cache);
  if (Result<void> right = check_setup(setup); !right) co_return fail(right.error());

  Descriptor descriptor;
  Alignment alignment = alignment_;
  if (access_flags(flags) != access_flags(setup_.flags)) {
    Result<Descriptor> opened = reopen_for_requests(descriptor_, setup_.path, flags);
    if (!opened) co_return fail(opened.error());
    Result<Alignment> found = find_alignment(*opened, setup_.path, flags);
    if (!found) co_return fail(found.error());
    // Pages of the cache that direct access would not see.
    Result<void> flushed = co_await flush();
    if (!flushed) co_return fail(flushed.error());
    descriptor = std::move(*opened);
    alignment = *found;
  }
  std::unique_ptr<PreparedReopen> prepared =
      std::make_unique<Reopening>(*this, std::move(setup), std::move(descriptor), alignment);
  co_return std::move(prepared);
}

}  // namespace ashlar::file
