// The exports that are running, by id: made, listed and removed here. The seam between exports,
// which know a backend each, and the graph, where backends and nodes come from.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/backend.h"
#include "ashlar/export.h"
#include "ashlar/graph.h"
#include "ashlar/loop.h"
#include "ashlar/options.h"
#include "async/sync.h"

namespace ashlar {

/// What exports need of the program they run in. Control loop.
class ExportHost {
 public:
  virtual ~ExportHost() = default;
  /// The loop that an iothread object has; null: there is none of that name.
  virtual Loop* find_loop(std::string_view iothread) = 0;
  /// The running one, or null.
  virtual NbdServer* nbd_server() = 0;
  /// A backend that was made for an export.
  virtual void backend_made(Backend& backend) = 0;
  /// The export has gone: its id is free. Its backend, where it has a name, is as it was before.
  virtual void export_deleted(const std::string& id, Backend& backend) = 0;
};

/// Control loop only.
class ExportRegistry {
 public:
  ExportRegistry(Graph& graph, std::span<const ExportSpec* const> kinds, ExportHost& host)
      : graph_(graph), kinds_(kinds), host_(host) {}
  ExportRegistry(const ExportRegistry&) = delete;
  ~ExportRegistry();

  /// Starts what `options` describe: type, id, node-name or backend, writable, writethrough,
  /// iothread (a name or a list), fixed-iothread, and the options of the type.
  /// Errors: reasons "export-..." below, and what the export says.
  Task<Result<void>> add(OptionDict options);

  /// Safe: not while a client is connected. Hard: drops clients; may go on in the background, and
  /// requests that an error policy holds end with their error.
  enum class Removal : uint8_t { kSafe, kHard };
  Task<Result<void>> remove(std::string id, Removal how);

  struct Listed {
    std::string id;
    std::string_view type;
    std::string node_name;  ///< of the medium at the moment; empty: none
    BackendRef backend;
    bool shutting_down = false;
  };
  /// In the order in which they were added.
  std::vector<Listed> list() const;
  BackendRef backend_of(std::string_view id) const;
  bool uses(const Loop& loop) const;

  /// Removes all of one type, hard, and waits for that.
  Task<void> close_type(std::string_view type);
  /// Removes all, the newest first, and waits. Before destruction.
  Task<void> close();

 private:
  struct Entry {
    std::string id;
    const ExportSpec* spec = nullptr;
    BackendRef backend;
    std::vector<Loop*> loops;
    std::unique_ptr<Export> running;  // null while it starts
    enum class Origin : uint8_t { kNamed, kMadeForExport } origin = Origin::kNamed;
    bool shutting_down = false;
  };
  struct Plan;
  Result<Plan> plan(OptionDict options) const;
  Task<Result<void>> start(Entry& entry, ExportSetup setup);
  Task<Result<BackendRef>> backend_for(const Plan& plan);
  Result<std::vector<Loop*>> take_loops(OptionDict& options) const;
  Entry* find(std::string_view id) const;
  Task<void> shut(Entry& entry);
  void erase(const Entry& entry);

  Graph& graph_;
  std::span<const ExportSpec* const> kinds_;
  ExportHost& host_;
  std::vector<std::unique_ptr<Entry>> entries_;
  Scope removals_;
};

}  // namespace ashlar
