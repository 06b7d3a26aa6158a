// One client that speaks QMP: greeting, negotiation, a bounded queue of commands, events.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ashlar/stream.h"
#include "async/sync.h"
#include "monitor/events.h"
#include "monitor/json_framer.h"
#include "monitor/line_writer.h"
#include "monitor/monitor.h"

namespace ashlar::monitor {

/// Serves one connection. Control loop only.
class QmpSession final : private EventListener {
 public:
  enum class Layout : uint8_t { kLines, kPretty };
  QmpSession(Monitor& monitor, Stream& stream, Layout layout);
  QmpSession(const QmpSession&) = delete;
  ~QmpSession() override;

  /// Until the client has gone or stop() was called, and its commands have ended.
  Task<void> run();
  /// Ends run() soon: nothing more is read, what was answered is still sent.
  void stop();

 private:
  /// Commands that wait their turn before nothing more is read.
  static constexpr size_t kQueueLimit = 8;

  struct Request {
    JsonInput message;
    std::string problem;  // what is wrong with it, when it is no message at all
  };
  void event(const Json& event) override;
  Task<void> take(JsonFramer::Frame frame);
  Task<void> work();
  Task<Json> answer(Request request);
  Task<Result<Json>> dispatch(const JsonInput& message);
  Task<Result<Json>> execute(const JsonInput& message, const std::string& name);
  std::optional<std::string> check_message(const JsonInput& message) const;
  bool is_out_of_band(const JsonInput& message) const;
  void say(const Json& message);
  Json greeting() const;

  Monitor& monitor_;
  Stream& stream_;
  const Layout layout_;
  LineWriter writer_;
  JsonFramer framer_;
  std::deque<Request> queue_;
  Semaphore waiting_{0};
  Semaphore room_{kQueueLimit};
  enum class Mode : uint8_t { kNegotiating, kCommands } mode_ = Mode::kNegotiating;
  bool out_of_band_ = false;
  bool quitting_ = false;
  bool stopped_ = false;
  Scope scope_;
};

}  // namespace ashlar::monitor
