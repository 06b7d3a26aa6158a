// The wire protocol: what is read, in which order it is answered.
#include "monitor/qmp_session.h"

#include <fmt/format.h>

#include <array>

#include "ashlar/version.h"
#include "monitor/errors.h"

namespace ashlar::monitor {
namespace {

/// Of the peer whose commands these are; clients look at it to know what they may use.
constexpr unsigned kMajor = 7;
constexpr unsigned kMinor = 2;

Json error_reply(const Error& error, const std::string& text) {
  Json reply = Json::object();
  reply["error"] = {{"class", class_of(error)}, {"desc", text}};
  return reply;
}

}  // namespace

Json version_info() {
  Json info = Json::object();
  info["qemu"] = {{"micro", 0}, {"minor", kMinor}, {"major", kMajor}};
  info["package"] = fmt::format("Ashlar {}", version());
  return info;
}

QmpSession::QmpSession(Monitor& monitor, Stream& stream, Layout layout)
    : monitor_(monitor), stream_(stream), layout_(layout), writer_(stream) {}

QmpSession::~QmpSession() = default;

Json QmpSession::greeting() const {
  Json hello = Json::object();
  hello["version"] = version_info();
  hello["capabilities"] = {"oob"};
  Json message = Json::object();
  message["QMP"] = std::move(hello);
  return message;
}

void QmpSession::say(const Json& message) {
  const std::string text = layout_ == Layout::kPretty ? to_pretty_text(message) : to_line(message);
  writer_.add(text + "\r\n");
}

void QmpSession::event(const Json& event) {
  if (mode_ == Mode::kCommands) say(event);
}

void QmpSession::stop() {
  stopped_ = true;
  stream_.shut_down();
}

Task<void> QmpSession::run() {
  monitor_.events().add_listener(*this);
  scope_.spawn(writer_.run());
  scope_.spawn(work());
  say(greeting());
  std::array<std::byte, 4096> bytes;
  const MutableBuffers into(bytes.data(), bytes.size());
  while (!quitting_ && !stopped_) {
    const Result<size_t> got = co_await stream_.read_some(into);
    if (!got || *got == 0) break;
    framer_.feed({reinterpret_cast<const char*>(bytes.data()), *got});
    while (std::optional<JsonFramer::Frame> frame = framer_.next()) {
      co_await take(std::move(*frame));
    }
  }
  // A last word without a line end behind it counts, too.
  framer_.feed("\n");
  while (std::optional<JsonFramer::Frame> frame = framer_.next()) {
    co_await take(std::move(*frame));
  }
  // The commands that were sent are still carried out; an empty place in the queue ends it.
  waiting_.release();
  co_await room_.acquire(kQueueLimit);
  monitor_.events().remove_listener(*this);
  co_await writer_.flush();
  writer_.finish();
  co_await scope_.join();
}

bool QmpSession::is_out_of_band(const JsonInput& message) const {
  if (!out_of_band_ || !message.is_object() || !message.contains("exec-oob")) return false;
  return mode_ == Mode::kCommands;
}

Task<void> QmpSession::take(JsonFramer::Frame frame) {
  Request request;
  request.problem = std::move(frame.problem);
  if (request.problem.empty()) {
    std::expected<JsonInput, std::string> parsed = parse_json(frame.text);
    if (parsed) {
      request.message = std::move(*parsed);
    } else {
      request.problem = std::move(parsed.error());
    }
  }
  if (request.problem.empty() && is_out_of_band(request.message)) {
    const Json reply = co_await answer(std::move(request));
    say(reply);
    co_return;
  }
  co_await room_.acquire();
  queue_.push_back(std::move(request));
  waiting_.release();
}

Task<void> QmpSession::work() {
  while (true) {
    co_await waiting_.acquire();
    if (queue_.empty()) break;
    Request request = std::move(queue_.front());
    queue_.pop_front();
    const bool skip = quitting_;  // nothing is done after "quit"
    if (!skip) {
      const Json reply = co_await answer(std::move(request));
      say(reply);
      // A client that does not read what it asked for is not answered any further.
      co_await writer_.flush();
      if (quitting_) monitor_.quit();
    }
    room_.release();
  }
}

std::optional<std::string> QmpSession::check_message(const JsonInput& message) const {
  if (!message.is_object()) return "QMP input must be a JSON object";
  for (const auto& [name, member] : message.items()) {
    if (name == "execute" || (name == "exec-oob" && out_of_band_)) {
      if (!member.is_string()) return fmt::format("QMP input member '{}' must be a string", name);
    } else if (name == "arguments") {
      if (!member.is_object()) return "QMP input member 'arguments' must be an object";
    } else if (name != "id") {
      return fmt::format("QMP input member '{}' is unexpected", name);
    }
  }
  const bool in_band = message.contains("execute");
  const bool beside = message.contains("exec-oob");
  if (!in_band && !beside) return "QMP input lacks member 'execute'";
  if (in_band && beside) return "QMP input member 'exec-oob' clashes with 'execute'";
  return std::nullopt;
}

Task<Json> QmpSession::answer(Request request) {
  std::optional<std::string> problem;
  if (!request.problem.empty()) {
    problem = std::move(request.problem);
  } else {
    problem = check_message(request.message);
  }
  Result<Json> result = Json();
  if (problem) {
    result = refuse(std::move(*problem));
  } else {
    result = co_await dispatch(request.message);
  }
  const bool has_id = request.message.is_object() && request.message.contains("id");
  Json reply = Json::object();
  if (result) {
    reply["return"] = std::move(*result);
    if (has_id) reply["id"] = Json(request.message["id"]);
    co_return reply;
  }
  if (has_id) reply["id"] = Json(request.message["id"]);
  reply.update(error_reply(result.error(), monitor_.text(result.error())));
  co_return reply;
}

Task<Result<Json>> QmpSession::dispatch(const JsonInput& message) {
  const char* member = message.contains("execute") ? "execute" : "exec-oob";
  const std::string name = message[member].get<std::string>();
  const bool negotiates = name == "qmp_capabilities";
  if (mode_ == Mode::kNegotiating && !negotiates) {
    co_return fail(
        Error(ErrorCode::kNotFound, "Expecting capabilities negotiation with 'qmp_capabilities'")
            .because(kCommandNotFound));
  }
  if (mode_ == Mode::kCommands && negotiates) {
    co_return fail(
        Error(ErrorCode::kNotFound, "Capabilities negotiation is already complete, command ignored")
            .because(kCommandNotFound));
  }
  co_return co_await execute(message, name);
}

Task<Result<Json>> QmpSession::execute(const JsonInput& message, const std::string& name) {
  const Command* command = monitor_.find_command(name);
  if (command == nullptr) {
    co_return fail(
        Error(ErrorCode::kNotFound, fmt::format("The command {} has not been found", name))
            .because(kCommandNotFound));
  }
  if (message.contains("exec-oob") && command->oob == Command::Oob::kNo) {
    co_return refuse(fmt::format("The command {} does not support OOB", name));
  }
  JsonInput arguments = message.contains("arguments") ? message["arguments"] : JsonInput::object();
  const bool wants_oob = arguments.contains("enable") && !arguments["enable"].empty();
  Result<Json> done = co_await monitor_.execute(*command, std::move(arguments));
  if (done && mode_ == Mode::kNegotiating) {
    mode_ = Mode::kCommands;
    out_of_band_ = wants_oob;
  }
  if (done && name == "quit") quitting_ = true;
  co_return done;
}

}  // namespace ashlar::monitor
