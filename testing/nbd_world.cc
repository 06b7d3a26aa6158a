// Start and end of the NBD world.
#include "testing/nbd_world.h"

#include <stdexcept>
#include <utility>

#include "exports/nbd/nbd.h"

namespace ashlar::testing {
namespace {

/// The world itself has no reason to fail.
template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace

NbdWorld::NbdWorld(const Settings& settings)
    : graph_(WorldGraph::Settings{.seed = settings.seed, .loops = settings.loops}) {
  graph_.world().files["f"] = make_file(settings.size);
  backend_ = *graph_.graph().create_backend("b");
  must(graph_.wait(backend_->insert_medium(open_file("f"))));
  graph_.wait(start(settings));
}

NbdWorld::~NbdWorld() {
  graph_.wait(close());
  backend_ = BackendRef();
}

NodeRef NbdWorld::open_file(const std::string& name) {
  return must(graph_.open(R"({"driver": "memory", "filename": ")" + name + R"("})", OpenFlags()));
}

Task<void> NbdWorld::start(const Settings& settings) {
  NbdServerOptions options;
  Runtime& runtime = Loop::current().runtime();
  for (unsigned index = 0; index < runtime.loop_count(); ++index) {
    options.loops.push_back(&runtime.loop(index));
  }
  options.max_connections = settings.max_connections;
  options.handshake_seconds = settings.handshake_seconds;
  options.observer = this;
  Result<std::unique_ptr<NbdServer>> server = co_await NbdServer::start(std::move(options));
  server_ = must(std::move(server));

  ExportSetup setup;
  setup.id = "e";
  setup.backend = backend_;
  setup.writable = true;
  setup.nbd_server = server_.get();
  setup.options.set("name", std::string("disk"));
  setup.options.set("allocation-depth", true);
  Result<std::unique_ptr<Export>> started = co_await nbd_export.start(std::move(setup));
  export_ = must(std::move(started));
}

Task<void> NbdWorld::close() {
  if (export_) co_await export_->close();
  export_.reset();
  if (server_) co_await server_->close();
  server_.reset();
}

std::unique_ptr<Stream> NbdWorld::connect(MemoryStreamShape client, MemoryStreamShape server) {
  auto [near, far] = memory_stream_pair(client, server);
  server_->serve(std::move(far));
  return std::move(near);
}

}  // namespace ashlar::testing
