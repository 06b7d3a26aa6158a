// copy_file_range between the files behind two images.
#include "tools/img/copy_offload.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <string>

#include "ashlar/node.h"
#include "async/on_loop.h"

namespace ashlar::tools {
namespace {

/// Plain bytes of a file.
struct Place {
  int descriptor = -1;
  uint64_t offset = 0;
  uint64_t length = 0;
};

/// Whether a file name is a plain path, not `protocol:...`.
bool is_plain_path(const std::string& name) {
  const size_t colon = name.find(':');
  return colon == std::string::npos || name.find('/') < colon;
}

/// 0, or the errno of what went wrong.
int copy_range(const Place& from, const Place& to, uint64_t length) {
  auto source = static_cast<off_t>(from.offset);
  auto target = static_cast<off_t>(to.offset);
  while (length != 0) {
    const ssize_t copied =
        ::copy_file_range(from.descriptor, &source, to.descriptor, &target, length, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0) return errno;
    if (copied == 0) return EIO;  // the source ends early
    length -= static_cast<uint64_t>(copied);
  }
  return 0;
}

bool is_hopeless(int os_error) {
  return os_error == EXDEV || os_error == EOPNOTSUPP || os_error == ENOSYS || os_error == EINVAL ||
         os_error == EPERM || os_error == EBADF;
}

}  // namespace

/// Descriptors of our own for the files of both sides. Locks of the images are not touched: they
/// belong to other open file descriptions.
struct CopyOffload::Files {
  ~Files() {
    for (const auto& [key, descriptor] : open) {
      if (descriptor >= 0) ::close(descriptor);
    }
  }

  /// -1 when it cannot be opened as a file.
  int descriptor(const std::string& path, int mode) {
    const std::lock_guard guard(lock);
    const auto [entry, is_new] = open.try_emplace({path, mode}, -1);
    if (!is_new || !is_plain_path(path)) return entry->second;
    const int opened = ::open(path.c_str(), mode | O_CLOEXEC | O_NONBLOCK);
    struct stat what{};
    if (opened >= 0 && (::fstat(opened, &what) != 0 || !S_ISREG(what.st_mode))) {
      ::close(opened);
      return -1;
    }
    entry->second = opened;
    return opened;
  }

  std::optional<Place> place(const Result<Extent>& extent, int mode) {
    if (!extent || extent->length == 0 || !extent->offset || extent->file == nullptr) {
      return std::nullopt;
    }
    const int opened = descriptor(extent->file->filename(), mode);
    if (opened < 0) return std::nullopt;
    return Place{opened, *extent->offset, extent->length};
  }

  std::mutex lock;
  std::map<std::pair<std::string, int>, int> open;
};

CopyOffload::CopyOffload(CopySource& source, Backend& target)
    : source_(source), target_(target), files_(std::make_unique<Files>()) {
  // Formats with clusters have to map what is written; raw images are their files.
  const Node& node = *target.root();
  possible_ = node.info().cluster_size == 0 && !node.flags().cache_direct;
}

CopyOffload::~CopyOffload() = default;

Task<bool> CopyOffload::copy(ByteRange range) {
  while (!range.empty()) {
    if (!possible_.load(std::memory_order_relaxed)) co_return false;
    const Result<Extent> source = co_await source_.status(range, 0);
    const Result<Extent> target = co_await target_.status(range, 1);
    const bool data = source && source->data && !source->compressed;
    const auto from = data ? files_->place(source, O_RDONLY) : std::nullopt;
    const auto to = files_->place(target, O_WRONLY);
    if (!from || !to) co_return false;
    const uint64_t length = std::min({range.length, from->length, to->length});
    OnWorker copied([from, to, length] { return copy_range(*from, *to, length); });
    const int os_error = co_await copied;
    if (os_error != 0) {
      if (is_hopeless(os_error)) possible_.store(false, std::memory_order_relaxed);
      co_return false;
    }
    range = range.after(length);
  }
  co_return true;
}

}  // namespace ashlar::tools
