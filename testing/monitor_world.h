// A monitor with a graph in memory, for tests: commands run by name, events are kept.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/builtin.h"
#include "monitor/monitor.h"

namespace ashlar::testing {

class MonitorWorld final : private monitor::EventListener {
 public:
  explicit MonitorWorld(std::span<const ExportSpec* const> exports = builtin_exports())
      : MonitorWorld(Runtime::create({.io_loops = kLoops}), exports) {}
  MonitorWorld(std::unique_ptr<Runtime> runtime, std::span<const ExportSpec* const> exports)
      : runtime_(std::move(runtime)),
        graph_(*runtime_, {.drivers = builtin_drivers(), .resolver = {}, .limits = {}}),
        monitor_({.graph = graph_,
                  .exports = exports,
                  .objects = std::make_shared<monitor::Objects>(*runtime_),
                  .wording = {plain_text, image_of, name_of},
                  .quit = [this] { quit(); }}) {
    monitor_.events().add_listener(*this);
  }
  MonitorWorld(const MonitorWorld&) = delete;
  ~MonitorWorld() override {
    const Result<void> closed = sync_wait(*runtime_, monitor_.close());
    EXPECT_TRUE(closed);
  }

  static constexpr unsigned kLoops = 3;
  Runtime& runtime() { return *runtime_; }
  Graph& graph() { return graph_; }
  monitor::Monitor& monitor() { return monitor_; }
  unsigned quits() const { return quits_; }
  void on_quit(std::function<void()> then) { then_ = std::move(then); }

  /// What a command returns on one line, or "!" and the error. Replies are held to their types.
  std::string run(std::string_view command, std::string_view arguments = "{}") {
    const monitor::Command* found = monitor_.find_command(command);
    if (found == nullptr) return "!no such command";
    monitor::JsonInput input = monitor::JsonInput::parse(arguments);
    Result<monitor::Json> done = sync_wait(*runtime_, monitor_.execute(*found, std::move(input)));
    if (!done) return "!" + done.error().message();
    const monitor::Type& type =
        monitor_.types().type(found->returns.empty() ? "empty" : found->returns);
    monitor::JsonInput output = *done;
    const auto problem = check_value(type, output, std::string(command), monitor::Source::kJson);
    EXPECT_FALSE(problem) << *problem;
    return monitor::to_line(*done);
  }
  template <typename T>
  T wait(Task<T> task) {
    return sync_wait(*runtime_, std::move(task));
  }

  /// Names of the events since the last call, in order; those with a status with that.
  std::string events() {
    std::string names;
    for (const monitor::Json& event : std::exchange(events_, {})) {
      names += names.empty() ? "" : " ";
      names += event["event"].get<std::string>();
      if (event.contains("data") && event["data"].contains("status")) {
        names += ":" + event["data"]["status"].get<std::string>();
      }
    }
    return names;
  }

 private:
  static std::string plain_text(const Error& error) { return error.message(); }
  static std::string image_of(const Node& node) {
    return R"({"filename":")" + node.name() + R"(","format":"x","virtual-size":)" +
           std::to_string(node.size()) + "}";
  }
  static std::string name_of(const Node& node) { return node.name(); }
  void quit() {
    ++quits_;
    if (then_) then_();
  }
  void event(const monitor::Json& event) override { events_.push_back(event); }

  std::unique_ptr<Runtime> runtime_;
  Graph graph_;
  unsigned quits_ = 0;
  std::function<void()> then_;
  std::vector<monitor::Json> events_;
  monitor::Monitor monitor_;
};

}  // namespace ashlar::testing
