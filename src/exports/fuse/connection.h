// A mounted connection: the session of libfuse, a channel for every loop, and requests from both.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/loop.h"
#include "ashlar/task.h"
#include "exports/fuse/channel.h"
#include "exports/fuse/file.h"

struct fuse_session;

namespace ashlar::fuse {

/// From the control loop, though requests are served on the loops it was given.
class Connection {
 public:
  /// Who may use the file besides the user who mounts it.
  enum class AllowOther : uint8_t { kOff, kOn, kWherePermitted };

  explicit Connection(std::vector<Loop*> loops) : loops_(std::move(loops)) {}
  ~Connection();

  /// Mounts over `mountpoint`, an absolute path. Says whether others may use it.
  /// Errors: kIo (reason "fuse-mount").
  Task<Result<ExportedFile::Others>> mount(std::string mountpoint, AllowOther allow_other);
  /// Serves `file`, which must outlive close().
  Task<Result<void>> serve(ExportedFile& file);
  /// Ends what clients do, answers what is under way, and unmounts.
  Task<void> close();

  /// Drops what the kernel remembers of the file. May wait for requests that are under way.
  Task<void> forget_cached();
  size_t requests() const noexcept;

  // --- For the answering side; on the loop that received the request.
  ExportedFile& file() const noexcept { return *file_; }
  Channel& channel_here() const noexcept;
  /// The descriptor to answer through: of the running loop, else `fallback`.
  int descriptor_here(int fallback) const noexcept;

 private:
  struct EndSession {
    void operator()(fuse_session* session) const noexcept;
  };
  using Session = std::unique_ptr<fuse_session, EndSession>;
  Session mount_session(const std::string& mountpoint, bool allow_other);

  const std::vector<Loop*> loops_;
  Session session_;
  ExportedFile* file_ = nullptr;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::array<Channel*, kMaxLoops> by_loop_{};
};

}  // namespace ashlar::fuse
