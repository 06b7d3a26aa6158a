// From the command line to a running export, and its orderly end.
#include "tools/nbd/serve.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "ashlar/export.h"
#include "async/cancel.h"
#include "async/io_operation.h"
#include "async/sync.h"
#include "exports/nbd/nbd.h"
#include "exports/nbd/server.h"
#include "tools/common/peer_text.h"
#include "tools/common/temporary_overlay.h"
#include "tools/nbd/kernel_device.h"
#include "tools/nbd/socket_text.h"
#include "tools/nbd/tls.h"

namespace ashlar::tools::nbd {
namespace {

/// Ends the server: on SIGTERM, SIGINT and SIGHUP, or when the last client has left.
class StopSignal final : public NbdServerObserver {
 public:
  explicit StopSignal(const Program& program, const Settings& settings)
      : program_(program), settings_(settings) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, &before_);
    descriptor_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  StopSignal(const StopSignal&) = delete;
  ~StopSignal() override {
    if (descriptor_ >= 0) ::close(descriptor_);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  Task<void> wait() {
    if (wanted_) co_return;
    poll_ = IoOperation::poll(descriptor_, POLLIN);
    waiting_ = true;
    const int64_t ready = co_await poll_;
    waiting_ = false;
    signalfd_siginfo received;
    if (ready > 0) (void)!::read(descriptor_, &received, sizeof received);
  }
  void stop() {
    wanted_ = true;
    if (waiting_) request_cancel(poll_);
  }

  void client_left(size_t remaining) override {
    if (remaining == 0 && settings_.end == Settings::End::kWithLastClient) stop();
  }
  void handshake_failed(const Error& error) override {
    if (settings_.talk == Settings::Talk::kVerbose) {
      program_.error(fmt::format("option negotiation failed: {}", error.message()));
    }
  }

 private:
  const Program& program_;
  const Settings& settings_;
  sigset_t before_{};
  int descriptor_ = -1;
  IoOperation poll_;
  bool waiting_ = false;
  bool wanted_ = false;
};

/// What is served, in the order in which it is made.
struct Served {
  std::optional<TemporaryFile> overlay;
  BackendRef backend;
  std::unique_ptr<NbdServer> server;
  std::unique_ptr<Export> running;
  std::optional<KernelDevice> device;
};

Task<Result<NodeRef>> open_window(Graph& graph, NodeRef inner, uint64_t offset, OpenFlags flags) {
  OptionDict options;
  options.set("driver", "raw");
  options.set("offset", std::to_string(offset));
  options.set("file", inner->name());
  co_return co_await graph.open(std::move(options), flags);
}

Task<Result<void>> insert(Backend& backend, NodeRef node) {
  co_return co_await backend.insert_medium(std::move(node));
}

Result<NodeRef> open_image(Session& session, const Settings& settings, Served& served) {
  const Program& program = session.program();
  ImageRequest request = settings.image;
  const bool overlaid = settings.overlay == Settings::Overlay::kTemporary;
  if (overlaid) request.flags.read_only = true;
  if (settings.aio) {
    const std::string_view problem = aio_mode_problem(*settings.aio, request.flags);
    if (!problem.empty()) return fail(ErrorCode::kInvalidArgument, std::string(problem));
  }
  if (settings.snapshot && !select_snapshot(session, request, *settings.snapshot)) {
    return fail(ErrorCode::kNotFound, std::string());
  }
  Result<NodeRef> node = try_open_node(session, request);
  if (!node) return node;
  if (overlaid) {
    Result<TemporaryOverlay> overlay =
        open_temporary_overlay(session, std::move(*node), settings.image.flags);
    if (!overlay) return fail(overlay.error());
    served.overlay = std::move(overlay->file);
    node = std::move(overlay->node);
  }
  if (settings.offset != 0) {
    node = session.wait(
        open_window(session.graph(), std::move(*node), settings.offset, settings.image.flags));
    if (!node) {
      program.error(peer_text(node.error()));
      return fail(ErrorCode::kNotFound, std::string());
    }
  }
  return node;
}

bool open_backend(Session& session, const Settings& settings, Served& served) {
  Result<NodeRef> node = open_image(session, settings, served);
  Result<void> done = ok();
  if (node) {
    served.backend = *session.graph().create_backend();
    done = session.wait(insert(*served.backend, std::move(*node)));
  }
  if (node && done) return true;
  const Error& error = node ? done.error() : node.error();
  // What has no message was complained of where it happened.
  if (!error.message().empty()) {
    session.program().error(
        fmt::format("Failed to blk_new_open '{}': {}", settings.image.name, peer_text(error)));
  }
  return false;
}

std::vector<Loop*> all_loops(Runtime& runtime) {
  std::vector<Loop*> loops;
  loops.reserve(runtime.loop_count());
  for (unsigned index = 0; index < runtime.loop_count(); ++index) {
    loops.push_back(&runtime.loop(index));
  }
  return loops;
}

/// Complains.
bool read_tls(Session& session, const Settings& settings,
              std::shared_ptr<const TlsCredentials>& into) {
  if (settings.tls_credentials.empty()) return true;
  Result<std::shared_ptr<const TlsCredentials>> found =
      tls_of(session, settings, TlsSettings::Endpoint::kServer);
  if (!found) {
    session.program().error(found.error().message());
    return false;
  }
  into = std::move(*found);
  return true;
}

bool start_server(Session& session, const Settings& settings, Served& served,
                  NbdServerObserver& observer) {
  NbdServerOptions options;
  options.addresses.push_back(settings.address);
  options.loops = all_loops(session.runtime());
  options.max_connections = settings.max_connections;
  options.handshake_seconds = settings.handshake_seconds;
  options.observer = &observer;
  if (!read_tls(session, settings, options.tls)) return false;
  if (!settings.tls_authorization.empty()) {
    options.permits = [&objects = session.objects(), &id = settings.tls_authorization](
                          std::string_view name) { return objects.permits(id, name); };
  }
  Result<std::unique_ptr<NbdServer>> server = session.wait(NbdServer::listen(std::move(options)));
  if (!server) {
    session.program().error(listen_error_text(server.error(), settings.address));
    return false;
  }
  served.server = std::move(*server);
  return true;
}

bool start_export(Session& session, const Settings& settings, Served& served) {
  ExportSetup setup;
  setup.id = "qemu-nbd";
  setup.backend = served.backend;
  setup.writable = !settings.image.flags.read_only;
  setup.write_through = settings.image.write_cache == Backend::WriteCache::kThrough;
  setup.nbd_server = served.server.get();
  setup.options.set("name", settings.export_name);
  if (!settings.description.empty()) setup.options.set("description", settings.description);
  if (settings.depth == Settings::Depth::kShown) setup.options.set("allocation-depth", true);
  for (size_t index = 0; index < settings.bitmaps.size(); ++index) {
    setup.options.set(fmt::format("bitmaps.{}", index), settings.bitmaps[index]);
  }
  Result<std::unique_ptr<Export>> running = session.wait(nbd_export.start(std::move(setup)));
  if (!running) {
    session.program().error(peer_text(running.error()));
    return false;
  }
  served.running = std::move(*running);
  return true;
}

Task<void> accept_task(NbdServer& server) {
  server.accept();
  co_return;
}

bool accept_clients(Session& session, Served& served) {
  session.wait(accept_task(*served.server));
  return true;
}

bool attach_device(Session& session, const Settings& settings, Served& served) {
  if (settings.mode != Settings::Mode::kAttach) return true;
  Result<KernelDevice> attached = session.wait(KernelDevice::attach(settings, *served.server));
  if (!attached) {
    session.program().error(attached.error().message());
    return false;
  }
  served.device.emplace(std::move(*attached));
  return true;
}

/// Ends clients, writes everything back. Complains.
bool finish(Session& session, Served& served) {
  if (served.running) session.wait(served.running->close());
  if (served.server) session.wait(served.server->close());
  served.device.reset();
  served.running.reset();
  served.server.reset();
  served.backend = BackendRef();
  const Result<void> closed = session.close();
  if (!closed) session.program().error(peer_text(closed.error()));
  return closed.has_value();
}

bool announce(const Program& program, const Settings& settings, std::optional<Daemon>& daemon) {
  if (!settings.pid_file.empty()) {
    const Result<void> written = write_pid_file(settings.pid_file);
    if (!written) {
      program.error(written.error().message());
      return false;
    }
  }
  if (daemon) {
    daemon->ready(settings.talk == Settings::Talk::kVerbose ? Daemon::Stderr::kKept
                                                            : Daemon::Stderr::kClosed);
  }
  return true;
}

}  // namespace

int serve(Session& session, const Settings& settings, std::optional<Daemon>& daemon) {
  StopSignal stop(session.program(), settings);
  Served served;
  // Clients that come early wait for the image to be opened.
  bool good = start_server(session, settings, served, stop) &&
              open_backend(session, settings, served) && start_export(session, settings, served) &&
              accept_clients(session, served) && attach_device(session, settings, served) &&
              announce(session.program(), settings, daemon);
  if (good) session.wait(stop.wait());
  good = finish(session, served) && good;
  return good ? kSuccess : kFailure;
}

}  // namespace ashlar::tools::nbd
