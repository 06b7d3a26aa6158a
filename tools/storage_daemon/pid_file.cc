// Writing the process id.
#include "tools/storage_daemon/pid_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace ashlar::tools {
namespace {

std::unexpected<Error> failed(std::string_view doing, const std::string& path) {
  return fail(ErrorCode::kIo,
              fmt::format("Could not {} '{}': {}", doing, path, std::strerror(errno)));
}

}  // namespace

Result<void> PidFile::create(const std::string& path) {
  constexpr mode_t kMode = 0644;
  OwnedDescriptor file(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, kMode));
  if (!file) return failed("create", path);
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(file.get(), F_SETLK, &whole) != 0) return failed("lock", path);
  const std::string text = fmt::format("{}\n", ::getpid());
  const bool written =
      ::ftruncate(file.get(), 0) == 0 &&
      ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!written) return failed("write", path);
  file_ = std::move(file);
  // The daemon may have another working directory at its end.
  char* absolute = ::realpath(path.c_str(), nullptr);
  path_ = absolute == nullptr ? path : absolute;
  std::free(absolute);
  return ok();
}

PidFile::~PidFile() {
  if (file_) (void)::unlink(path_.c_str());
}

}  // namespace ashlar::tools
