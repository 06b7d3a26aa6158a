// Reading and writing descriptors that may block: only when poll says that they will not.
#include "async/pipe_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/uio.h>

#include <cerrno>
#include <climits>

#include "async/cancel.h"
#include "async/io_vectors.h"

namespace ashlar {
namespace {

class PipeStream final : public Stream {
 public:
  PipeStream(PipeEnds ends, std::string name) : ends_(std::move(ends)), name_(std::move(name)) {}

  Task<Result<size_t>> read_some(MutableBuffers into) override {
    IoVectors vectors;
    vectors.fill(into);
    for (;;) {
      IoOperation readable = IoOperation::poll(ends_.input.get(), POLLIN);
      Result<void> ready = co_await wait_for(readable, reading_);
      if (!ready) co_return fail(ready.error());
      const ssize_t got =
          readv(ends_.input.get(), vectors.data(), static_cast<int>(vectors.count()));
      if (got >= 0) co_return static_cast<size_t>(got);
      if (errno != EAGAIN && errno != EINTR) co_return fail(failure(errno, "read from"));
    }
  }

  Task<Result<void>> write_all(ConstBuffers from) override {
    IoVectors vectors;
    while (!from.empty()) {
      IoOperation writable = IoOperation::poll(ends_.output.get(), POLLOUT);
      Result<void> ready = co_await wait_for(writable, writing_);
      if (!ready) co_return ready;
      // A pipe that is ready takes this much without blocking, and promises no more.
      vectors.fill(from.slice(0, std::min<size_t>(from.size(), PIPE_BUF)));
      const ssize_t sent =
          writev(ends_.output.get(), vectors.data(), static_cast<int>(vectors.count()));
      if (sent > 0) from.remove_front(static_cast<size_t>(sent));
      if (sent < 0 && errno != EAGAIN && errno != EINTR) co_return fail(failure(errno, "write to"));
    }
    co_return ok();
  }

  void shut_down() noexcept override {
    if (std::exchange(ended_, true)) return;
    if (reading_ != nullptr) request_cancel(*reading_);
    if (writing_ != nullptr) request_cancel(*writing_);
  }

  std::string peer() const override { return name_; }

 private:
  /// Awaits `poll` where shut_down() finds it.
  Task<Result<void>> wait_for(IoOperation& poll, IoOperation*& place) {
    if (ended_) co_return fail(closed());
    place = &poll;
    const int64_t events = co_await poll;
    place = nullptr;
    if (ended_) co_return fail(closed());
    if (events < 0) co_return fail(failure(static_cast<int>(-events), "wait for"));
    co_return ok();
  }
  Error closed() const {
    return Error(ErrorCode::kClosed, fmt::format("connection to \"{}\" was shut down", name_));
  }
  Error failure(int os_error, std::string_view doing) const {
    return Error::from_errno(os_error, fmt::format("{} \"{}\"", doing, name_));
  }

  const PipeEnds ends_;
  const std::string name_;
  IoOperation* reading_ = nullptr;
  IoOperation* writing_ = nullptr;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Stream> make_pipe_stream(PipeEnds ends, std::string name) {
  return std::make_unique<PipeStream>(std::move(ends), std::move(name));
}

Result<std::unique_ptr<Stream>> open_standard_stream() {
  PipeEnds ends;
  ends.input = OwnedDescriptor(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
  ends.output = OwnedDescriptor(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
  if (!ends.input || !ends.output) {
    return fail(Error::from_errno(errno, "use standard input and output"));
  }
  return make_pipe_stream(std::move(ends), "stdio");
}

}  // namespace ashlar
