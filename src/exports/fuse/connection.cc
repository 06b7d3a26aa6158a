// Mounting, serving and unmounting.
#include "exports/fuse/connection.h"

#define FUSE_USE_VERSION 312
#include <fmt/format.h>
#include <fuse_lowlevel.h>

#include <cerrno>

#include "async/on_loop.h"
#include "exports/fuse/requests.h"

namespace ashlar::fuse {
namespace {

// What libfuse sends and receives goes through the descriptor of the loop that runs.

ssize_t send(int fd, iovec* parts, int count, void* connection) {
  return send_to_fuse(static_cast<Connection*>(connection)->descriptor_here(fd), parts, count);
}

ssize_t receive(int fd, void* into, size_t size, void* connection) {
  const int own = static_cast<Connection*>(connection)->descriptor_here(fd);
  return receive_from_fuse(own, {static_cast<std::byte*>(into), size});
}

}  // namespace

void Connection::EndSession::operator()(fuse_session* session) const noexcept {
  fuse_session_destroy(session);
}

Connection::~Connection() { assert(session_ == nullptr); }

int Connection::descriptor_here(int fallback) const noexcept {
  const Loop* loop = Loop::current_or_null();
  const Channel* channel = loop == nullptr ? nullptr : by_loop_[loop->index()];
  return channel == nullptr ? fallback : channel->fd();
}

Channel& Connection::channel_here() const noexcept { return *by_loop_[Loop::current().index()]; }

size_t Connection::requests() const noexcept {
  size_t sum = 0;
  for (const auto& channel : channels_) sum += channel->requests();
  return sum;
}

/// Blocks: it may run a helper program. Null when it could not mount.
Connection::Session Connection::mount_session(const std::string& mountpoint, bool allow_other) {
  std::string name = "ashlar";
  std::string flag = "-o";
  // The page cache serves who may read; the kernel checks that before it asks.
  std::string options = fmt::format("default_permissions,max_read={}", kMaxData);
  if (allow_other) options += ",allow_other";
  std::array<char*, 3> words{name.data(), flag.data(), options.data()};
  fuse_args arguments = FUSE_ARGS_INIT(static_cast<int>(words.size()), words.data());
  Session session(fuse_session_new(&arguments, &request_table(), sizeof(fuse_lowlevel_ops), this));
  fuse_opt_free_args(&arguments);  // libfuse has made copies of them
  if (session == nullptr) return nullptr;
  if (fuse_session_mount(session.get(), mountpoint.c_str()) != 0) return nullptr;
  const fuse_custom_io through_channels{
      .writev = send, .read = receive, .splice_receive = nullptr, .splice_send = nullptr};
  const int fd = fuse_session_fd(session.get());
  if (fuse_session_custom_io(session.get(), &through_channels, fd) != 0) {
    fuse_session_unmount(session.get());
    return nullptr;
  }
  return session;
}

Task<Result<ExportedFile::Others>> Connection::mount(std::string mountpoint,
                                                     AllowOther allow_other) {
  using Others = ExportedFile::Others;
  for (const bool others : {true, false}) {
    if (others && allow_other == AllowOther::kOff) continue;
    if (!others && allow_other == AllowOther::kOn) continue;
    auto attempt = [this, &mountpoint, others] { return mount_session(mountpoint, others); };
    OnWorker mounting(std::move(attempt));
    session_ = co_await mounting;
    if (session_ != nullptr) co_return others ? Others::kAllowed : Others::kShutOut;
  }
  co_return fail(Error(ErrorCode::kIo, fmt::format("cannot mount over \"{}\"", mountpoint))
                     .because("fuse-mount", {mountpoint}));
}

Task<Result<void>> Connection::serve(ExportedFile& file) {
  file_ = &file;
  for (Loop* loop : loops_) {
    if (by_loop_[loop->index()] != nullptr) continue;  // named twice
    const int fd = fuse_session_fd(session_.get());
    if (channels_.empty()) {
      channels_.push_back(
          std::make_unique<Channel>(*loop, session_.get(), FuseDevice::of_session(fd)));
    } else {
      Result<FuseDevice> clone = FuseDevice::clone_of(fd);
      if (!clone) co_return fail(clone.error());
      channels_.push_back(std::make_unique<Channel>(*loop, session_.get(), std::move(*clone)));
    }
    by_loop_[loop->index()] = channels_.back().get();
  }
  for (const auto& channel : channels_) {
    OnLoop<void> starting(channel->loop(), channel->start());
    co_await starting;
  }
  co_return ok();
}

Task<void> Connection::close() {
  if (session_ == nullptr) co_return;
  for (const auto& channel : channels_) {
    OnLoop<void> stopping(channel->loop(), channel->stop());
    co_await stopping;
  }
  // The connection ends with its last descriptor: clients that wait are told so.
  by_loop_.fill(nullptr);
  channels_.clear();
  auto unmount = [session = session_.get()] { fuse_session_unmount(session); };
  OnWorker unmounting(std::move(unmount));
  co_await unmounting;
  session_.reset();
}

Task<void> Connection::forget_cached() {
  auto forget = [session = session_.get()] {
    fuse_lowlevel_notify_inval_inode(session, FUSE_ROOT_ID, 0, 0);
  };
  OnWorker forgetting(std::move(forget));
  co_await forgetting;
}

}  // namespace ashlar::fuse
