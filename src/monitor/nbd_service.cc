// Starting and stopping of the NBD server.
#include "monitor/nbd_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <thread>

#include "async/tls.h"
#include "monitor/errors.h"
#include "monitor/monitor.h"
#include "monitor/option_dict.h"

namespace ashlar::monitor {
namespace {

Result<unsigned> count_of(const JsonInput& options, const char* name, unsigned otherwise) {
  if (!options.contains(name)) return otherwise;
  const uint64_t value = options[name].get<uint64_t>();
  if (value <= std::numeric_limits<unsigned>::max()) return static_cast<unsigned>(value);
  return refuse(fmt::format("Parameter '{}' expects a number below 2^32", name));
}

/// A name, a list of names, or nothing.
Result<std::vector<Loop*>> loops_of(const Objects& objects, const JsonInput& options) {
  std::vector<Loop*> loops;
  if (!options.contains("iothread")) return loops;
  const JsonInput& given = options["iothread"];
  const JsonInput names = given.is_array() ? given : JsonInput::array({given});
  for (const JsonInput& name : names) {
    Loop* loop = objects.iothread(name.get<std::string>());
    if (loop == nullptr) {
      return refuse(fmt::format("iothread \"{}\" not found", name.get<std::string>()),
                    ErrorCode::kNotFound);
    }
    loops.push_back(loop);
  }
  return loops;
}

/// Cores besides that of the control loop that clients are spread over.
size_t other_cores() {
  constexpr unsigned kMostCores = 16;
  return std::clamp(std::thread::hardware_concurrency(), 1U, kMostCores) - 1;
}

Result<NbdServerOptions> server_options(const Monitor& monitor, const JsonInput& options) {
  NbdServerOptions setup;
  Result<OptionDict> address = to_options(options["addr"]);
  if (!address) return fail(address.error());
  Result<SocketAddress> taken = SocketAddress::take(*address);
  if (!taken) return fail(taken.error());
  setup.addresses.push_back(std::move(*taken));
  Result<unsigned> connections = count_of(options, "max-connections", setup.max_connections);
  if (!connections) return fail(connections.error());
  Result<unsigned> seconds = count_of(options, "handshake-max-seconds", setup.handshake_seconds);
  if (!seconds) return fail(seconds.error());
  if (options.contains("tls-creds")) {
    auto credentials = monitor.objects().tls_credentials(options["tls-creds"].get<std::string>());
    if (!credentials) return fail(credentials.error());
    setup.tls = std::move(*credentials);
  }
  if (options.contains("tls-authz")) {
    if (setup.tls == nullptr) return refuse("'tls-authz' is not permitted without 'tls-creds'");
    // Looked up when a client comes: the object may be replaced, and be made later.
    setup.permits = [&objects = monitor.objects(), id = options["tls-authz"].get<std::string>()](
                        std::string_view name) { return objects.permits(id, name); };
  }
  Result<std::vector<Loop*>> loops = loops_of(monitor.objects(), options);
  if (!loops) return fail(loops.error());
  setup.max_connections = *connections;
  setup.handshake_seconds = *seconds;
  setup.loops = std::move(*loops);
  return setup;
}

}  // namespace

BorrowedLoops::BorrowedLoops(Objects& lender, size_t most) : lender_(lender) {
  while (loops_.size() < most) {
    Loop* loop = lender_.take_loop();
    if (loop == nullptr) break;
    loops_.push_back(loop);
  }
}

BorrowedLoops::~BorrowedLoops() {
  for (Loop* loop : loops_) lender_.return_loop(*loop);
}

void define_nbd_types(Types& types) {
  types.define_object("NbdServerOptions",
                      "addr:SocketAddress, *tls-creds:str, *tls-authz:str, *max-connections:count, "
                      "*handshake-max-seconds:count, *iothread:OneOrMore");
}

Task<Result<void>> NbdService::start(Monitor& monitor, JsonInput options) {
  if (server_ != nullptr || starting_) co_return refuse("NBD server already running");
  Result<NbdServerOptions> setup = server_options(monitor, options);
  if (!setup) co_return fail(setup.error());
  starting_ = true;
  if (setup->loops.empty() && setup->max_connections != 1) {
    // The first client has the control loop, which has little else to do; others get other cores.
    borrowed_ = std::make_unique<BorrowedLoops>(monitor.objects(), other_cores());
    setup->loops = borrowed_->loops();
    setup->loops.insert(setup->loops.begin(), &Loop::current());
  }
  loops_ = setup->loops;
  Result<std::unique_ptr<NbdServer>> started = co_await NbdServer::start(std::move(*setup));
  starting_ = false;
  if (!started) {
    forget_loops();
    co_return fail(started.error());
  }
  server_ = std::move(*started);
  co_return ok();
}

Task<Result<void>> NbdService::stop(Monitor& monitor) {
  if (server_ == nullptr) co_return refuse("NBD server not running");
  // From here on there is no server to add exports to.
  const std::unique_ptr<NbdServer> server = std::move(server_);
  co_await monitor.exports().close_type("nbd");
  co_await server->close();
  forget_loops();
  co_return ok();
}

Task<void> NbdService::close() {
  if (server_ == nullptr) co_return;
  const std::unique_ptr<NbdServer> server = std::move(server_);
  co_await server->close();
  forget_loops();
}

void NbdService::forget_loops() {
  loops_.clear();
  borrowed_.reset();
}

bool NbdService::uses(const Loop& loop) const {
  return std::ranges::find(loops_, &loop) != loops_.end();
}

}  // namespace ashlar::monitor
