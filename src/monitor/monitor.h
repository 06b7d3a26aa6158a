// What all monitors of a program share: its graph, exports, objects, jobs and events, and the
// commands that act on them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/backend.h"
#include "ashlar/export.h"
#include "ashlar/graph.h"
#include "exports/exports.h"
#include "monitor/chardev_host.h"
#include "monitor/check.h"
#include "monitor/command.h"
#include "monitor/events.h"
#include "monitor/jobs.h"
#include "monitor/nbd_service.h"
#include "monitor/objects.h"
#include "monitor/types.h"

namespace ashlar::monitor {

/// How a program words what monitors say: the library has its own words.
struct Wording {
  ErrorText error = nullptr;
  /// An ImageInfo of QMP, as JSON text.
  std::string (*image)(const Node& node) = nullptr;
  /// What a node is called towards users.
  std::string (*file_name)(const Node& node) = nullptr;
};

/// Control loop only. Everything waits for close() before it goes away.
class Monitor final : private ExportHost, private BackendObserver {
 public:
  struct Setup {
    Graph& graph;
    std::span<const ExportSpec* const> exports;
    std::shared_ptr<Objects> objects;  ///< which the graph may have as its credentials
    Wording wording;
    std::function<void()> quit;       ///< the program is to end
    ChardevHost* chardevs = nullptr;  ///< of the program; null: it has none
  };
  explicit Monitor(Setup setup);
  Monitor(const Monitor&) = delete;
  ~Monitor() override;

  const Command* find_command(std::string_view name) const;
  std::span<const Command* const> commands() const { return commands_; }
  /// Checks `arguments` and runs the command.
  Task<Result<Json>> execute(const Command& command, JsonInput arguments,
                             Source source = Source::kJson);
  /// The same by name, with the options of a command line.
  Task<Result<Json>> execute_options(std::string_view command, OptionDict options, Source source);
  /// Starts the NBD server as a command line says it: with the members of its address in "addr".
  Task<Result<void>> start_nbd_server(const OptionDict& options, Source source);
  Result<Json> schema();

  Graph& graph() const { return setup_.graph; }
  ExportRegistry& exports() { return exports_; }
  Events& events() { return events_; }
  Objects& objects() { return *setup_.objects; }
  const Objects& objects() const { return *setup_.objects; }
  NbdService& nbd() { return nbd_; }
  Jobs& jobs() { return jobs_; }
  ChardevHost* chardevs() const { return setup_.chardevs; }
  Types& types() { return types_; }
  const Wording& wording() const { return setup_.wording; }
  std::string text(const Error& error) const { return setup_.wording.error(error); }
  void quit() { setup_.quit(); }

  // --- Nodes and backends that users made.

  void own_node(NodeRef node);
  bool owns_node(std::string_view name) const { return nodes_.contains(name); }
  void disown_node(std::string_view name);
  struct Policies {
    ErrorPolicy on_read = ErrorPolicy::kReport;
    ErrorPolicy on_write = ErrorPolicy::kStopOnNoSpace;
  };
  /// What users say of a backend, besides what it knows itself.
  struct BackendRecord {
    BackendRef backend;
    Policies policies;
    bool removable = true;
    bool read_only = false;  ///< of the last medium
    enum class Status : uint8_t { kOk, kFailed, kNoSpace } io_status = Status::kOk;
  };
  Result<void> add_backend(const std::string& id, BackendRecord record);
  /// Null when there is none of that name.
  BackendRecord* find_backend(std::string_view id);
  void forget_backend(std::string_view id);
  /// In order of creation.
  std::vector<std::string> backend_names() const { return backend_order_; }
  void set_policies(Backend& backend, Policies policies);
  /// The throttle group of that name: an object, or one that backends share; made when there is
  /// none.
  std::shared_ptr<ThrottleGroup> throttle_group(const std::string& name);
  /// Lets all requests that are held try again.
  void resume_all();
  bool stopped() const { return stopped_; }

  /// Removes exports, ends jobs, closes the graph (which flushes every backend) and lets go of
  /// everything. Once. The first error of the graph is returned.
  Task<Result<void>> close();

 private:
  // ExportHost
  Loop* find_loop(std::string_view iothread) override { return setup_.objects->iothread(iothread); }
  NbdServer* nbd_server() override { return nbd_.server(); }
  void backend_made(Backend& backend) override;
  void export_deleted(const std::string& id, Backend& backend) override;
  // BackendObserver
  void io_error(const IoErrorEvent& event) override;
  void image_corrupted(const CorruptionEvent& event) override;

  Setup setup_;
  Types types_;
  std::vector<const Command*> commands_;
  Events events_;
  Jobs jobs_;
  NbdService nbd_;
  ExportRegistry exports_;
  std::map<std::string, NodeRef, std::less<>> nodes_;
  std::map<std::string, BackendRecord, std::less<>> backends_;
  std::vector<std::string> backend_order_;
  std::map<std::string, std::weak_ptr<ThrottleGroup>> shared_groups_;
  bool stopped_ = false;
};

}  // namespace ashlar::monitor
