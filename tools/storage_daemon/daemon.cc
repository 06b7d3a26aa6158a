// Options carried out, monitors served, and the end.
#include "tools/storage_daemon/daemon.h"

#include <fmt/format.h>
#include <poll.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "ashlar/builtin.h"
#include "async/cancel.h"
#include "monitor/errors.h"
#include "monitor/graph_view.h"
#include "monitor/qmp_session.h"
#include "tools/common/peer_text.h"
#include "tools/storage_daemon/human_session.h"
#include "tools/storage_daemon/wording.h"

namespace ashlar::tools {
namespace {

using monitor::refuse;

class QmpClient final : public MonitorSession {
 public:
  QmpClient(monitor::Monitor& monitor, Stream& stream, monitor::QmpSession::Layout layout)
      : session_(monitor, stream, layout) {}
  Task<void> run() override { return session_.run(); }
  void stop() override { session_.stop(); }

 private:
  monitor::QmpSession session_;
};

std::unique_ptr<MonitorSession> make_session(monitor::Monitor& monitor, Stream& stream,
                                             const std::string& mode, bool pretty) {
  if (mode == "readline") return std::make_unique<HumanSession>(monitor, stream);
  using Layout = monitor::QmpSession::Layout;
  return std::make_unique<QmpClient>(monitor, stream, pretty ? Layout::kPretty : Layout::kLines);
}

}  // namespace

Daemon::Daemon(Program& program, Graph& graph, std::shared_ptr<monitor::Objects> objects)
    : program_(program),
      monitor_({.graph = graph,
                .exports = builtin_exports(),
                .objects = std::move(objects),
                .wording = daemon_wording(),
                .quit = [this] { ending_.release(); },
                .chardevs = &chardevs_}) {}

Daemon::~Daemon() = default;

Task<Result<void>> Daemon::carry_out(const DaemonStep& step) {
  if (step.option == "chardev") co_return co_await add_chardev(step.value);
  if (step.option == "monitor") co_return add_monitor(step.value);
  if (step.option == "nbd-server") co_return co_await start_nbd_server(step.value);
  if (step.option == "draw-graph") co_return draw_graph(step.value);
  struct Row {
    std::string_view option;
    std::string_view command;
    std::string_view implied_key;
  };
  static constexpr Row kRows[] = {
      {"blockdev", "blockdev-add", "driver"},
      {"backend", "backend-add", "id"},
      {"export", "block-export-add", "type"},
      {"object", "object-add", "qom-type"},
  };
  for (const Row& row : kRows) {
    if (row.option == step.option) {
      co_return co_await run_command(row.command, step.value, row.implied_key);
    }
  }
  co_return refuse(fmt::format("there is no option --{}", step.option));
}

Task<Result<void>> Daemon::run_command(std::string_view command, std::string text,
                                       std::string_view implied_key) {
  const bool json = text.starts_with('{');
  Result<OptionDict> options =
      json ? OptionDict::parse_json(text) : OptionDict::parse_key_value(text, implied_key);
  if (!options) co_return fail(options.error());
  using monitor::Source;
  Result<monitor::Json> done = co_await monitor_.execute_options(
      command, std::move(*options), json ? Source::kJson : Source::kText);
  if (!done) co_return fail(done.error());
  co_return ok();
}

Task<Result<void>> Daemon::start_nbd_server(std::string text) {
  const bool json = text.starts_with('{');
  Result<OptionDict> options =
      json ? OptionDict::parse_json(text) : OptionDict::parse_key_value(text);
  if (!options) co_return fail(options.error());
  using monitor::Source;
  co_return co_await monitor_.start_nbd_server(*options, json ? Source::kJson : Source::kText);
}

Task<Result<void>> Daemon::add_chardev(std::string text) {
  Result<std::unique_ptr<Chardev>> made = co_await make_chardev(std::move(text));
  if (!made) co_return fail(made.error());
  const std::string id = (*made)->id();
  const std::string filename = (*made)->filename();
  const Result<void> added = chardevs_.add(std::move(*made));
  if (added && filename.starts_with("pty:")) {
    program_.out().write(
        fmt::format("char device redirected to {} (label {})\n", filename.substr(4), id));
    program_.out().flush();
  }
  co_return added;
}

Result<void> Daemon::add_monitor(const std::string& text) {
  Result<OptionDict> options = text.starts_with('{') ? OptionDict::parse_json(text)
                                                     : OptionDict::parse_key_value(text, "chardev");
  if (!options) return fail(options.error());
  const std::optional<std::string> id = options->take_text("chardev");
  const std::string mode = options->take_text("mode").value_or("control");
  Result<std::optional<bool>> pretty = options->take_switch("pretty");
  (void)options->take_text("id");
  if (!id) return refuse("Parameter 'chardev' is missing");
  if (mode != "control" && mode != "readline") {
    return refuse(fmt::format("Parameter 'mode' does not accept value '{}'", mode));
  }
  if (!pretty) return refuse("Parameter 'pretty' expects 'on' or 'off'");
  if (!options->empty()) {
    return refuse(fmt::format("Parameter '{}' is unexpected", options->entries()[0].first));
  }
  Chardevs::Channel* channel = chardevs_.find(*id);
  if (channel == nullptr) return refuse(fmt::format("chardev \"{}\" not found", *id));
  if (channel->use != Chardevs::Channel::Use::kFree) {
    return refuse(fmt::format("Device '{}' is in use", *id));
  }
  channel->use = Chardevs::Channel::Use::kMonitor;
  Serving& serving = serving_.emplace_back();
  serving.channel = channel;
  scope_.spawn(serve(serving, mode, pretty->value_or(false)));
  return ok();
}

Result<void> Daemon::draw_graph(const std::string& filename) {
  const monitor::GraphView view = monitor::view_graph(monitor_.graph());
  std::ofstream file(filename, std::ios::binary | std::ios::trunc);
  file << (filename.ends_with(".svg") ? to_svg(view) : to_dot(view));
  file.close();
  if (file) return ok();
  return refuse(fmt::format("Could not write '{}': {}", filename, std::strerror(errno)));
}

Task<void> Daemon::serve(Serving& serving, std::string mode, bool pretty) {
  while (!closing_) {
    Result<std::unique_ptr<Stream>> stream = co_await serving.channel->device->next();
    if (!stream || closing_) break;
    serving.stream = std::move(*stream);
    serving.session = make_session(monitor_, *serving.stream, mode, pretty);
    serving.channel->link = Chardevs::Channel::Link::kUp;
    co_await serving.session->run();
    serving.channel->link = Chardevs::Channel::Link::kDown;
    serving.session.reset();
    serving.stream.reset();
  }
}

Task<void> Daemon::watch_signals(int signals) {
  IoOperation ready = IoOperation::poll(signals, POLLIN);
  signal_wait_ = &ready;
  const int64_t result = co_await ready;
  signal_wait_ = nullptr;
  if (result > 0) ending_.release();
}

Task<void> Daemon::wait_for_end(int signals) {
  scope_.spawn(watch_signals(signals));
  co_await ending_.acquire();
}

Task<Result<void>> Daemon::close() {
  closing_ = true;
  if (signal_wait_ != nullptr) request_cancel(*signal_wait_);
  chardevs_.close();
  for (Serving& serving : serving_) {
    if (serving.session != nullptr) serving.session->stop();
  }
  co_await scope_.join();
  Result<void> closed = co_await monitor_.close();
  co_return closed;
}

}  // namespace ashlar::tools
