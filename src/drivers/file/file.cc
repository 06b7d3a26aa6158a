// The two entries in the list of drivers, and what opening does.
#include "drivers/file/file.h"

#include <fmt/format.h>

#include "ashlar/loop.h"
#include "drivers/file/create.h"
#include "drivers/file/file_driver.h"
#include "drivers/file/file_options.h"

namespace ashlar {
namespace file {
namespace {

/// Locks where the kernel has them, unless they are not wanted.
Result<ByteLocks> locks_for(const FileSetup& setup, const Descriptor& descriptor) {
  if (setup.locking == "off") return ByteLocks();
  if (locks_supported()) return ByteLocks(descriptor.get(), setup.path);
  if (setup.locking == "auto") return ByteLocks();
  return fail(Error(ErrorCode::kUnsupported,
                    "option \"locking\" is on, but this kernel has no locks that belong to open "
                    "files")
                  .because("locking-unsupported"));
}

/// Tools have other words for a wrong choice here than elsewhere.
Error option_error(const Error& error) {
  if (error.reason() != "option-choice") return error;
  return error.because("file-option-choice", {error.values()[1]});
}

template <Flavor flavor>
Task<Result<std::unique_ptr<Driver>>> open_driver(OpenContext& context) {
  Result<FileOptions> options = take_options<FileOptions>(context.options());
  if (!options) co_return fail(option_error(options.error()));
  if (options->filename.empty()) {
    co_return fail(Error(ErrorCode::kInvalidArgument,
                         fmt::format("{}: option \"filename\" is missing", name_of(flavor)))
                       .because("file-name-missing", {std::string(name_of(flavor))}));
  }
  FileSetup setup;
  setup.path = options->filename;
  setup.flavor = flavor;
  setup.flags = context.flags();
  setup.locking = options->locking.value_or("auto");
  setup.aio = options->aio.value_or("threads");
  setup.drop_cache = options->drop_cache.value_or(true);
  setup.loops = Loop::current().runtime().loop_count();
  if (Result<void> right = check_setup(setup); !right) co_return fail(right.error());

  Result<Descriptor> descriptor = open_for_requests(setup.path, flavor, setup.flags);
  if (!descriptor) co_return fail(descriptor.error());
  const Result<Alignment> alignment = find_alignment(*descriptor, setup.path, setup.flags);
  if (!alignment) co_return fail(alignment.error());
  Result<ByteLocks> locks = locks_for(setup, *descriptor);
  if (!locks) co_return fail(locks.error());
  std::unique_ptr<Driver> driver = std::make_unique<FileDriver>(
      std::move(setup), std::move(*descriptor), *alignment, std::move(*locks));
  co_return std::move(driver);
}

/// A plain path or `file:path`; devices go to the other driver.
Result<OptionDict> parse_file_name(std::string_view filename) {
  OptionDict options;
  std::string path = path_of(filename, Flavor::kFile);
  if (is_device(path)) options.set("driver", std::string(name_of(Flavor::kHostDevice)));
  options.set("filename", std::move(path));
  return options;
}

Result<OptionDict> parse_device_name(std::string_view filename) {
  OptionDict options;
  options.set("filename", path_of(filename, Flavor::kHostDevice));
  return options;
}

}  // namespace

Result<void> check_setup(const FileSetup& setup) {
  if (setup.aio != "native" || setup.flags.cache_direct) return ok();
  return fail(Error(ErrorCode::kInvalidArgument,
                    "option \"aio\" can be \"native\" only where \"cache.direct\" is on")
                  .because("file-native-needs-direct"));
}

}  // namespace file

constinit const DriverSpec file_driver{
    .name = "file",
    .summary = "a regular file of the host",
    .kind = NodeKind::kStorage,
    .open = file::open_driver<file::Flavor::kFile>,
    .open_options = describe_options<file::FileOptions>,
    .create_options = describe_options<file::FileCreateOptions>,
    .filename_prefix = "file",
    .parse_filename = file::parse_file_name,
    .create_file = file::create_file,
    .delete_file = file::delete_file,
};

constinit const DriverSpec host_device_driver{
    .name = "host_device",
    .summary = "a block or character device of the host",
    .kind = NodeKind::kStorage,
    .open = file::open_driver<file::Flavor::kHostDevice>,
    .open_options = describe_options<file::FileOptions>,
    .create_options = describe_options<file::FileCreateOptions>,
    .filename_prefix = "host_device",
    .parse_filename = file::parse_device_name,
    .create_file = file::create_on_device,
};

}  // namespace ashlar
