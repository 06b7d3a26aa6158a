// Unnamed temporary files.
#include "tools/common/temporary_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace ashlar::tools {

Result<TemporaryFile> TemporaryFile::create() {
  const char* folder = std::getenv("TMPDIR");
  std::string name =
      fmt::format("{}/ashlar-XXXXXX", folder != nullptr && *folder != '\0' ? folder : "/var/tmp");
  const int descriptor = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor < 0) {
    return fail(Error::from_errno(errno, fmt::format("create temporary file \"{}\"", name)));
  }
  // Without a name nobody has to remove it, not even after a crash.
  ::unlink(name.c_str());
  return TemporaryFile(descriptor);
}

TemporaryFile::~TemporaryFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string TemporaryFile::path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

}  // namespace ashlar::tools
