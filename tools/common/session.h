// The runtime, the graph and the user's objects of one command.
#pragma once

#include <memory>
#include <utility>

#include "ashlar/graph.h"
#include "ashlar/loop.h"
#include "tools/common/objects.h"
#include "tools/common/program.h"

namespace ashlar::tools {

/// Whether images may open the files they name (backing files, data files).
enum class Trust : uint8_t { kImages, kNothing };

/// What a command works with. References to nodes and backends must be gone before it ends.
class Session {
 public:
  Session(Program& program, Trust trust, const RuntimeOptions& runtime = {}, Objects objects = {});
  Session(const Session&) = delete;
  /// Closes what close() has not.
  ~Session();

  Program& program() { return program_; }
  Graph& graph() { return *graph_; }
  Runtime& runtime() { return *runtime_; }
  Objects& objects() { return objects_; }

  /// Runs `task` to its end. Never from inside a coroutine.
  template <typename T>
  T wait(Task<T> task) {
    return sync_wait(*runtime_, std::move(task));
  }

  /// Writes back and closes everything. The first error is returned: what was written may be lost.
  Result<void> close();

 private:
  Program& program_;
  Objects objects_;
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<Graph> graph_;
};

}  // namespace ashlar::tools
