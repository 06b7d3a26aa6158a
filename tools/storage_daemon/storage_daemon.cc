// Start and end of the storage daemon's process.
#include "tools/storage_daemon/storage_daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "ashlar/builtin.h"
#include "tools/common/peer_text.h"
#include "tools/storage_daemon/daemon.h"
#include "tools/storage_daemon/pid_file.h"
#include "tools/storage_daemon/service.h"

namespace ashlar::tools {
namespace {

/// SIGTERM, SIGINT and SIGHUP as a descriptor. Before anything that starts threads.
class StopSignals {
 public:
  StopSignals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    descriptor_ = OwnedDescriptor(::signalfd(-1, &set, SFD_CLOEXEC));
  }
  int descriptor() const { return descriptor_.get(); }

 private:
  OwnedDescriptor descriptor_;
};

struct World {
  explicit World(const DaemonOptions& options) {
    RuntimeOptions loops;
    // Each is a thread only once something runs on it: for iothread objects.
    loops.io_loops = kMaxLoops - 1;
    runtime = Runtime::create(loops);
    objects = std::make_shared<monitor::Objects>(*runtime);
    Graph::Options graph_options;
    graph_options.credentials = objects;
    graph_options.throttle_groups = objects;
    graph_options.drivers = builtin_drivers();
    graph_options.resolver = options.untrusted ? refuse_references() : follow_references();
    graph = std::make_unique<Graph>(*runtime, std::move(graph_options));
  }
  std::unique_ptr<Runtime> runtime;
  std::shared_ptr<monitor::Objects> objects;
  std::unique_ptr<Graph> graph;
};

Task<Result<void>> carry_out_all(Program& program, Daemon& daemon, const DaemonOptions& options) {
  for (const DaemonStep& step : options.steps) {
    Result<void> done = co_await daemon.carry_out(step);
    if (done) continue;
    program.error(fmt::format("--{} {}: {}", step.option, step.value, daemon.text(done.error())));
    co_return done;
  }
  co_return ok();
}

/// Everything between the first option and the end. Returns the exit status.
Task<int> live(Program& program, Daemon& daemon, const DaemonOptions& options, Readiness& readiness,
               const StopSignals& signals) {
  PidFile pid_file;
  Result<void> ready = co_await carry_out_all(program, daemon, options);
  if (ready && options.pid_file) {
    ready = pid_file.create(*options.pid_file);
    if (!ready) program.error("cannot create PID file: " + ready.error().message());
  }
  if (ready) {
    readiness.tell();
    co_await daemon.wait_for_end(signals.descriptor());
    readiness.tell_stopping();
  }
  const Result<void> closed = co_await daemon.close();
  if (!closed) program.error(daemon.text(closed.error()));
  co_return ready&& closed ? kSuccess : kFailure;
}

}  // namespace

int run_storage_daemon(Program& program, std::span<char* const> words) {
  const auto options = parse_daemon_options(program, words);
  if (!options) return options.error();
  adopt_sockets();
  Readiness readiness;
  if (options->daemonize) {
    const std::optional<int> parents_status = readiness.go_to_background(program);
    if (parents_status) return *parents_status;
  }
  // A limit on files is then an error of the write, for the one who wrote.
  std::signal(SIGXFSZ, SIG_IGN);
  const StopSignals signals;
  int status = kFailure;
  {
    World world(*options);
    Daemon daemon(program, *world.graph, world.objects);
    status = sync_wait(*world.runtime, live(program, daemon, *options, readiness, signals));
  }
  return status;
}

}  // namespace ashlar::tools
