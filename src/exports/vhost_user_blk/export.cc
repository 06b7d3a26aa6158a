// The vhost-user-blk export: options, listening, clients, the backend's news.
#include "exports/vhost_user_blk/export.h"

#include <fmt/format.h>

#include <array>

#include "ashlar/socket_address.h"
#include "async/descriptor_socket.h"
#include "base/checked.h"
#include "exports/vhost_user_blk/vhost_user_blk.h"

namespace ashlar::vhost {
namespace {

constexpr uint64_t kSmallestBlock = 512;
constexpr uint64_t kLargestBlock = 2_MiB;
/// Messages name a ring with one byte.
constexpr uint64_t kMostQueues = 256;
/// Until another try, when the process has no descriptor left for a client.
constexpr uint64_t kAcceptAgainNs = 100'000'000;
/// Clients that wait while another one is served.
constexpr unsigned kBacklog = 16;

struct VhostUserBlkOptions {
  uint64_t block_size = kSmallestBlock;
  uint64_t queues = 1;
  std::string serial = "vhost_user_blk";

  static constexpr auto table() {
    return std::array{
        option("logical-block-size", &VhostUserBlkOptions::block_size,
               "unit that requests must be aligned to, a power of two from 512 to 2M", "512"),
        number_option("num-queues", &VhostUserBlkOptions::queues, "request queues, 1 to 256", "1"),
        option("serial", &VhostUserBlkOptions::serial,
               "what the guest sees as the disk's serial number, up to 20 bytes", "vhost_user_blk"),
    };
  }
};

constexpr std::array<ObjectOption, 1> kObjects{
    {{.name = "addr", .kind = ObjectOption::Kind::kSocketAddress}}};

Error bad_option(std::string message) {
  return Error(ErrorCode::kInvalidArgument, "vhost-user-blk: option " + message);
}

Result<void> check_options(const VhostUserBlkOptions& options, const std::string& id) {
  const bool block_fits = is_power_of_two(options.block_size) &&
                          options.block_size >= kSmallestBlock &&
                          options.block_size <= kLargestBlock;
  if (!block_fits) {
    return fail(bad_option(fmt::format("\"logical-block-size\" wants a power of two from 512 to "
                                       "2097152, not {}",
                                       options.block_size))
                    .because("vhost-block-size", {id, std::to_string(options.block_size)}));
  }
  if (options.queues == 0 || options.queues > kMostQueues) {
    return fail(
        bad_option(fmt::format("\"num-queues\" wants 1 to {}, not {}", kMostQueues, options.queues))
            .because(options.queues == 0 ? "vhost-no-queues" : "vhost-queues",
                     {std::to_string(options.queues), std::to_string(kMostQueues)}));
  }
  if (options.serial.size() > BlockDevice::kMostSerial) {
    return fail(bad_option(fmt::format("\"serial\" wants up to {} bytes, not \"{}\"",
                                       BlockDevice::kMostSerial, options.serial))
                    .because("vhost-serial", {options.serial}));
  }
  return ok();
}

/// What the export's options say, with nothing left over.
struct Parsed {
  VhostUserBlkOptions options;
  SocketAddress address;
};

Result<Parsed> parse(ExportSetup& setup) {
  OptionDict& dict = setup.options;
  Parsed parsed;
  Result<VhostUserBlkOptions> options = take_options<VhostUserBlkOptions>(dict);
  if (!options) return fail(options.error());
  if (Result<void> checked = check_options(*options, setup.id); !checked)
    return fail(checked.error());
  parsed.options = std::move(*options);
  if (!dict.has_subtree("addr")) {
    return fail(Error(ErrorCode::kInvalidArgument, "vhost-user-blk: option \"addr\" is missing")
                    .because("option-missing", {"addr"}));
  }
  OptionDict members = dict.take_subtree("addr");
  Result<SocketAddress> address = SocketAddress::take(members);
  if (!address) return fail(address.error());
  using Kind = SocketAddress::Kind;
  if (address->kind != Kind::kUnix && address->kind != Kind::kFd) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      "vhost-user-blk: option \"addr\" wants type \"unix\" or \"fd\"")
                    .because("vhost-address"));
  }
  parsed.address = std::move(*address);
  std::string left;
  if (!members.empty()) left = "addr." + members.entries().front().first;
  if (!dict.empty()) left = dict.entries().front().first;
  if (left.empty()) return parsed;
  return fail(Error(ErrorCode::kInvalidArgument,
                    fmt::format("vhost-user-blk: there is no option \"{}\"", left))
                  .because("option-unknown", {"vhost-user-blk", left}));
}

Task<Result<std::unique_ptr<Export>>> start_export(ExportSetup setup) {
  Result<Parsed> parsed = parse(setup);
  if (!parsed) co_return fail(parsed.error());
  Result<std::unique_ptr<Listener>> listener =
      co_await Listener::open(std::move(parsed->address), kBacklog);
  if (!listener) co_return fail(listener.error());
  BlockDevice::Setup device;
  device.backend = setup.backend.get();
  device.writable = setup.writable;
  device.write_through = setup.write_through;
  device.block_size = static_cast<uint32_t>(parsed->options.block_size);
  device.queues = static_cast<uint16_t>(parsed->options.queues);
  device.serial = std::move(parsed->options.serial);
  auto started = std::make_unique<VhostUserBlkExport>(std::move(setup), std::move(device));
  Result<void> taken = started->start(std::move(*listener));
  if (!taken) co_return fail(taken.error());
  std::unique_ptr<Export> running = std::move(started);
  co_return std::move(running);
}

}  // namespace

Result<void> VhostUserBlkExport::start(std::unique_ptr<Listener> listener) {
  Permissions used = Permission::kConsistentRead;
  if (setup_.writable) used = used | Permission::kWrite;
  if (Result<void> attached = setup_.backend->attach_device(*this, Backend::Origin::kIndependent);
      !attached) {
    return attached;
  }
  if (Result<void> taken = setup_.backend->set_permissions(used, Permissions::all()); !taken) {
    setup_.backend->detach_device();
    return taken;
  }
  listener_ = std::move(listener);
  serving_.spawn(serve());
  return ok();
}

Task<void> VhostUserBlkExport::serve() {
  while (!closing_) {
    Result<std::unique_ptr<Stream>> accepted = co_await listener_->accept();
    if (accepted) {
      co_await serve_client(std::move(*accepted));
    } else if (!closing_) {
      co_await sleep_for(kAcceptAgainNs);
    }
  }
}

Task<void> VhostUserBlkExport::serve_client(std::unique_ptr<Stream> stream) {
  Result<DescriptorSocket> socket = DescriptorSocket::under(std::move(stream));
  if (!socket) {
    last_end_ = socket.error();
    co_return;
  }
  connection_ = std::make_unique<Connection>(device_, setup_.loops, std::move(*socket));
  last_end_ = co_await connection_->run();
  connection_.reset();
  ++clients_served_;
}

void VhostUserBlkExport::config_changed() {
  if (connection_ != nullptr) connection_->config_changed();
}

Task<void> VhostUserBlkExport::close() {
  closing_ = true;
  listener_->close();
  if (connection_ != nullptr) connection_->drop();
  co_await serving_.join();
  listener_.reset();
  setup_.backend->detach_device();
  setup_.backend = BackendRef();
}

}  // namespace ashlar::vhost

namespace ashlar {

constinit const ExportSpec vhost_user_blk_export{
    .name = "vhost-user-blk",
    .summary = "a disk for virtual machines in other processes, over shared memory",
    .options = describe_options<vhost::VhostUserBlkOptions>,
    .objects = vhost::kObjects,
    .start = vhost::start_export,
};

}  // namespace ashlar
