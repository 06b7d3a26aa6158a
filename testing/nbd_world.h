// An NBD server in simulation with one export, and connections to it without sockets.
#pragma once

#include <memory>
#include <string>

#include "ashlar/export.h"
#include "exports/nbd/server.h"
#include "testing/graph_world.h"
#include "testing/memory_stream.h"
#include "testing/nbd_test_client.h"

namespace ashlar::testing {

/// The export "disk", writable, of the backend "b", whose medium is the file "f".
class NbdWorld : private NbdServerObserver {
 public:
  struct Settings {
    uint64_t seed = 1;
    unsigned loops = 2;
    uint64_t size = 1_MiB;
    unsigned max_connections = 0;
    unsigned handshake_seconds = 10;
  };
  explicit NbdWorld(const Settings& settings);
  NbdWorld() : NbdWorld(Settings()) {}
  NbdWorld(const NbdWorld&) = delete;
  /// Closes what is open.
  ~NbdWorld() override;

  /// A connection; the shapes are of what the client and the server write. Inside of wait().
  std::unique_ptr<Stream> connect(MemoryStreamShape client = {}, MemoryStreamShape server = {});

  template <typename T>
  T wait(Task<T> task) {
    return graph_.wait(std::move(task));
  }
  void wait(Task<void> task) { graph_.wait(std::move(task)); }

  WorldGraph& graph() { return graph_; }
  NbdServer& server() { return *server_; }
  Backend& backend() { return *backend_; }
  Export& disk() { return *export_; }
  /// Opens a file of the world, for a change of the medium.
  NodeRef open_file(const std::string& name);
  /// Awaits the end of the export, and of the server.
  Task<void> close();

  unsigned clients_left() const { return clients_left_; }
  unsigned handshakes_failed() const { return handshakes_failed_; }

 private:
  void client_left(size_t) override { ++clients_left_; }
  void handshake_failed(const Error&) override { ++handshakes_failed_; }
  Task<void> start(const Settings& settings);

  WorldGraph graph_;
  BackendRef backend_;
  std::unique_ptr<NbdServer> server_;
  std::unique_ptr<Export> export_;
  unsigned clients_left_ = 0;
  unsigned handshakes_failed_ = 0;
};

}  // namespace ashlar::testing
