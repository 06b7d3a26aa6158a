// Looking at a mountpoint, on a worker: the file may be one that this very process serves.
#include "exports/fuse/mountpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "async/fuse_device.h"
#include "async/on_loop.h"

namespace ashlar::fuse {
namespace {

/// As the kernel writes paths in its table: blanks and the like as three octal digits.
std::string as_in_mount_table(const std::string& path) {
  std::string text;
  for (const char c : path) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\' || c == '#') {
      text += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
    } else {
      text += c;
    }
  }
  return text;
}

bool is_covered(const std::string& path) {
  const std::string wanted = as_in_mount_table(path);
  std::ifstream table("/proc/self/mounts");
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string source;
    std::string target;
    std::string type;
    fields >> source >> target >> type;
    if (target == wanted && type.starts_with("fuse")) return true;
  }
  return false;
}

Result<std::string> look(const std::string& mountpoint) {
  std::error_code failed;
  std::string path = std::filesystem::canonical(mountpoint, failed).string();
  // First: to look at a file system whose server has gone, or is this thread, goes wrong.
  if (!failed && is_covered(path)) {
    return fail(Error(ErrorCode::kBusy,
                      fmt::format("there is a FUSE file system on \"{}\" already", mountpoint))
                    .because("fuse-mountpoint-busy", {mountpoint}));
  }
  const Result<bool> is_regular = is_regular_file(mountpoint);
  if (!is_regular) {
    return fail(is_regular.error()
                    .within("mount over", mountpoint)
                    .because("fuse-mountpoint", {mountpoint}));
  }
  if (!*is_regular) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("the mountpoint \"{}\" is not a regular file", mountpoint))
                    .because("fuse-mountpoint-kind", {mountpoint}));
  }
  return path;
}

}  // namespace

Task<Result<std::string>> find_mountpoint(std::string mountpoint) {
  auto looking = [&mountpoint] { return look(mountpoint); };
  OnWorker there(std::move(looking));
  co_return co_await there;
}

}  // namespace ashlar::fuse
