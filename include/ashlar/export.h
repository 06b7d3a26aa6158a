// Exports: frontends that serve a backend to clients outside the process (NBD, vhost-user, FUSE).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/backend.h"
#include "ashlar/error.h"
#include "ashlar/loop.h"
#include "ashlar/options.h"
#include "ashlar/task.h"

namespace ashlar {

class NbdServer;  // src/exports/nbd/server.h
struct ExportSpec;

/// A running export. Control loop, though it serves on its own loops.
/// It is the device of its backend: it is told of medium changes and resizes, and a backend
/// without a medium is served as one (requests fail with "no medium", size 0).
class Export {
 public:
  virtual ~Export() = default;
  /// A client is connected: a "safe" removal is refused.
  virtual bool in_use() const = 0;
  /// Drops clients, waits for their requests and lets go of the backend. Once, before destruction.
  virtual Task<void> close() = 0;
};

/// What every export is made with.
struct ExportSetup {
  std::string id;
  BackendRef backend;               ///< no device is attached to it yet
  std::string node_name;            ///< what the user named: node or backend; default names
  bool writable = false;            ///< its permissions are taken by the export
  bool write_through = false;       ///< every write is durable when it is answered
  std::vector<Loop*> loops;         ///< where to serve, at least one
  NbdServer* nbd_server = nullptr;  ///< the running one, if any
  OptionDict options;               ///< the rest, for ExportSpec::options
};

/// One kind of export. A value in the list of builtin_exports().
struct ExportSpec {
  std::string_view name;
  std::string_view summary;
  std::vector<OptionDescription> (*options)() = nullptr;
  /// Those of its options that are objects or lists.
  std::span<const ObjectOption> objects{};
  /// Takes the options it knows; what is left is an error (reason "option-unknown").
  Task<Result<std::unique_ptr<Export>>> (*start)(ExportSetup setup) = nullptr;
};

}  // namespace ashlar
