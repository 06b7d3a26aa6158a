// Creating files: lock, empty, mark, size.
#include "drivers/file/create.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "async/on_loop.h"
#include "drivers/file/file_options.h"
#include "drivers/file/locks.h"
#include "drivers/file/opening.h"
#include "drivers/file/sizing.h"

namespace ashlar::file {
namespace {

constexpr uint64_t kSizeUnit = 512;  // sizes of devices come in these

/// What is to be created, checked.
struct Plan {
  std::string path;
  Sizing sizing;
  bool nocow = false;
  uint32_t extent_size_hint = 0;
};

Error create_error(int os_error, const std::string& path) {
  return Error::from_errno(os_error, fmt::format("create \"{}\"", path))
      .because("file-create", {path});
}

Result<Preallocation> preallocation_of(const std::string& word) {
  if (word == "off") return Preallocation::kOff;
  if (word == "falloc") return Preallocation::kFalloc;
  if (word == "full") return Preallocation::kFull;
  if (word == "metadata") return Preallocation::kMetadata;  // refused where it is said why
  return fail(
      Error(ErrorCode::kInvalidArgument,
            fmt::format("option \"preallocation\" wants off, falloc or full, not \"{}\"", word))
          .because("file-preallocation-word", {word}));
}

Result<Plan> plan_for(const std::string& filename, Flavor flavor, OptionDict& options) {
  Result<FileCreateOptions> parsed = take_options<FileCreateOptions>(options);
  if (!parsed) return fail(parsed.error());
  if (!options.empty()) {
    const std::string& key = options.entries().front().first;
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("{}: no option is called \"{}\"", name_of(flavor), key))
                    .because("option-unknown", {std::string(name_of(flavor)), key}));
  }
  Plan plan;
  plan.path = path_of(filename, flavor);
  if (parsed->size > kMaxDeviceSize - kSizeUnit) {
    return fail(Error(ErrorCode::kTooLarge,
                      fmt::format("{} bytes are more than a file can have", parsed->size))
                    .because("file-resize", {plan.path}));
  }
  plan.sizing.size = align_up(parsed->size, kSizeUnit);
  const Result<Preallocation> preallocation = preallocation_of(parsed->preallocation);
  if (!preallocation) return fail(preallocation.error());
  plan.sizing.preallocation = *preallocation;
  if (Result<void> possible = check_preallocation(*preallocation); !possible) {
    return fail(possible.error());
  }
  plan.nocow = parsed->nocow;
  const uint64_t hint = parsed->extent_size_hint.value_or(1_MiB);
  if (hint > UINT32_MAX) {
    return fail(Error(ErrorCode::kTooLarge,
                      fmt::format("an extent size hint of {} bytes is above the limit of {}", hint,
                                  UINT32_MAX))
                    .because("file-extent-size-hint"));
  }
  plan.extent_size_hint = static_cast<uint32_t>(hint);
  return plan;
}

/// Hints for the file system; those that have no use for them refuse, which does no harm.
void give_hints(const Descriptor& descriptor, const Plan& plan) {
  const int fd = descriptor.get();
  int flags = 0;
  if (plan.nocow && ::ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
    flags |= FS_NOCOW_FL;
    (void)::ioctl(fd, FS_IOC_SETFLAGS, &flags);
  }
  struct fsxattr attributes = {};
  if (plan.extent_size_hint != 0 && ::ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0) {
    attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
    attributes.fsx_extsize = plan.extent_size_hint;
    (void)::ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
  }
}

Result<void> fill_new_file(const Descriptor& descriptor, const Plan& plan) {
  const Result<FileFacts> facts = facts_of(descriptor, plan.path);
  if (!facts) return fail(facts.error());
  if (facts->kind != FileFacts::Kind::kRegular) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("\"{}\" is there and is not a regular file", plan.path))
                    .because("file-not-regular", {"file", plan.path}));
  }
  ByteLocks locks;
  if (locks_supported()) locks = ByteLocks(descriptor.get(), plan.path);
  // What is there may belong to somebody: nothing is touched before the locks are taken.
  const Permissions used = Permission::kWrite | Permission::kResize;
  if (Result<void> locked = locks.change(used, Permissions::all().without(Permission::kResize));
      !locked) {
    return locked;
  }
  if (Result<void> emptied = set_file_size(descriptor, plan.path, {}); !emptied) return emptied;
  give_hints(descriptor, plan);
  return set_file_size(descriptor, plan.path, plan.sizing);
}

Result<void> create_now(const Plan& plan) {
  constexpr unsigned kMode = 0644;
  Opened opened = open_path(plan.path, O_RDWR | O_CREAT | O_EXCL, kMode);
  const bool is_new = static_cast<bool>(opened.descriptor);
  if (opened.os_error == EEXIST) opened = open_path(plan.path, O_RDWR | O_CREAT, kMode);
  if (!opened.descriptor) return fail(create_error(opened.os_error, plan.path));
  Result<void> filled = fill_new_file(opened.descriptor, plan);
  if (!filled && is_new) (void)::unlink(plan.path.c_str());
  return filled;
}

Result<void> check_device(const Plan& plan) {
  const Opened opened = open_path(plan.path, O_RDWR);
  if (!opened.descriptor) return fail(create_error(opened.os_error, plan.path));
  const Result<FileFacts> facts = facts_of(opened.descriptor, plan.path);
  if (!facts) return fail(facts.error());
  if (facts->kind != FileFacts::Kind::kBlockDevice &&
      facts->kind != FileFacts::Kind::kCharacterDevice) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("\"{}\" is not a block or character device", plan.path))
                    .because("file-not-device", {"host_device", plan.path}));
  }
  if (facts->size < plan.sizing.size) {
    return fail(Error(ErrorCode::kNoSpace, fmt::format("\"{}\" has {} bytes, {} are wanted",
                                                       plan.path, facts->size, plan.sizing.size))
                    .because("device-too-small", {plan.path}));
  }
  return ok();
}

}  // namespace

Task<Result<void>> create_file(std::string filename, OptionDict options) {
  const Result<Plan> plan = plan_for(filename, Flavor::kFile, options);
  if (!plan) co_return fail(plan.error());
  auto work = [&plan] { return create_now(*plan); };
  OnWorker created(std::move(work));
  co_return co_await created;
}

Task<Result<void>> delete_file(std::string filename) {
  const std::string path = path_of(filename, Flavor::kFile);
  if (::unlink(path.c_str()) == 0) co_return ok();
  co_return fail(
      Error::from_errno(errno, fmt::format("delete \"{}\"", path)).because("file-delete", {path}));
}

Task<Result<void>> create_on_device(std::string filename, OptionDict options) {
  const Result<Plan> plan = plan_for(filename, Flavor::kHostDevice, options);
  if (!plan) co_return fail(plan.error());
  auto work = [&plan] { return check_device(*plan); };
  OnWorker checked(std::move(work));
  co_return co_await checked;
}

}  // namespace ashlar::file
