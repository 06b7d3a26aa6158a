// The running storage daemon: what its options made, and the clients of its monitors.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "ashlar/graph.h"
#include "async/io_operation.h"
#include "async/sync.h"
#include "monitor/monitor.h"
#include "tools/common/program.h"
#include "tools/storage_daemon/chardevs.h"
#include "tools/storage_daemon/command_line.h"

namespace ashlar::tools {

/// What a client of a monitor talks to: machines or people.
class MonitorSession {
 public:
  virtual ~MonitorSession() = default;
  virtual Task<void> run() = 0;
  virtual void stop() = 0;
};

/// Control loop only.
class Daemon {
 public:
  Daemon(Program& program, Graph& graph, std::shared_ptr<monitor::Objects> objects);
  Daemon(const Daemon&) = delete;
  ~Daemon();

  /// Carries out one option. The error's text is the user's.
  Task<Result<void>> carry_out(const DaemonStep& step);
  /// Waits for the command "quit" or a signal, which `signals` (a signalfd) tells of.
  Task<void> wait_for_end(int signals);
  /// Ends monitors, then everything else. The first error of the graph is returned.
  Task<Result<void>> close();

  std::string text(const Error& error) const { return monitor_.text(error); }

 private:
  struct Serving {
    Chardevs::Channel* channel = nullptr;
    std::unique_ptr<Stream> stream;
    std::unique_ptr<MonitorSession> session;
  };
  Task<Result<void>> add_chardev(std::string text);
  Task<Result<void>> start_nbd_server(std::string text);
  Result<void> add_monitor(const std::string& text);
  Result<void> draw_graph(const std::string& filename);
  Task<Result<void>> run_command(std::string_view command, std::string text,
                                 std::string_view implied_key);
  Task<void> serve(Serving& serving, std::string mode, bool pretty);
  Task<void> watch_signals(int signals);

  Program& program_;
  Chardevs chardevs_;
  monitor::Monitor monitor_;
  std::list<Serving> serving_;
  Semaphore ending_{0};
  bool closing_ = false;
  IoOperation* signal_wait_ = nullptr;
  Scope scope_;
};

}  // namespace ashlar::tools
