// The nbd tool: its command line, and what it does.
#include "tools/nbd/nbd.h"

#include <algorithm>
#include <thread>

#include "tools/common/tool.h"
#include "tools/nbd/daemon.h"
#include "tools/nbd/kernel_device.h"
#include "tools/nbd/lister.h"
#include "tools/nbd/serve.h"
#include "tools/nbd/settings.h"

namespace ashlar::tools {
namespace {

using nbd::Daemon;
using nbd::Settings;

/// One loop serves few clients best; more are spread over the cores.
unsigned io_loops(const Settings& settings) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  const unsigned clients = settings.max_connections == 0 ? cores : settings.max_connections;
  return std::min(cores, clients) - 1;
}

int run(Program& program, const Arguments& arguments) {
  if (arguments.has("version")) {
    print_version(program);
    return kSuccess;
  }
  const std::expected<Settings, int> settings = nbd::read_settings(program, arguments);
  if (!settings) return settings.error();
  if (settings->mode == Settings::Mode::kDetach) {
    return nbd::KernelDevice::detach(program, settings->device);
  }
  std::optional<Daemon> daemon;
  const bool background =
      settings->process == Settings::Process::kForked || settings->mode == Settings::Mode::kAttach;
  if (background && settings->mode != Settings::Mode::kList) {
    Result<Daemon> forked = Daemon::fork_off();
    if (!forked) {
      program.error(forked.error().message());
      return kFailure;
    }
    daemon.emplace(std::move(*forked));
  }
  RuntimeOptions runtime;
  runtime.io_loops = io_loops(*settings);
  if (settings->aio) runtime.files = file_backend(*settings->aio);
  const StartedSession started = start_session(program, arguments, runtime);
  if (!started.session) return started.status;
  if (settings->mode == Settings::Mode::kList) {
    return nbd::list_exports(*started.session, *settings);
  }
  return nbd::serve(*started.session, *settings, daemon);
}

}  // namespace

int run_nbd(Program& program, std::span<char* const> words) {
  const Command command{
      .name = {},
      .operands = "FILE",
      .summary = "Serves a disk image over NBD, or with -L lists what another server has.",
      .options = nbd::option_rows(),
      .run = run};
  const auto arguments = parse_arguments(program, command, words);
  return arguments ? run(program, *arguments) : arguments.error();
}

}  // namespace ashlar::tools
