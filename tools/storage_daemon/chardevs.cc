// Making, replacing and removing channels at the wish of monitors.
#include "tools/storage_daemon/chardevs.h"

#include <fmt/format.h>

#include "monitor/errors.h"
#include "monitor/option_dict.h"
#include "tools/storage_daemon/ring_chardev.h"

namespace ashlar::tools {
namespace {

using monitor::JsonInput;
using monitor::refuse;

constexpr std::string_view kTerminal = "pty:";
constexpr std::string_view kDisconnected = "disconnected:";

std::unexpected<Error> not_found(std::string_view id) {
  return refuse(fmt::format("Chardev '{}' not found", id), ErrorCode::kNotFound);
}

void rename(OptionDict& options, std::string_view from, std::string_view to) {
  const OptionValue* value = options.find(from);
  if (value == nullptr) return;
  OptionValue moved = *value;
  options.erase(from);
  options.set(to, std::move(moved));
}

/// The members of an address as --chardev has them: among the others.
void flatten_address(OptionDict& options) {
  OptionDict address = options.take_subtree("addr");
  const OptionDict members = address.take_subtree("data");
  for (const auto& [name, value] : members.entries()) options.set(name, value);
  rename(options, "str", "fd");
}

/// What chardev-add says as --chardev would.
Result<OptionDict> to_chardev_options(const std::string& type, const JsonInput& data) {
  Result<OptionDict> options = monitor::to_options(data);
  if (!options) return options;
  if (type == "file") {
    rename(*options, "out", "path");
    rename(*options, "in", "input-path");
  } else if (type == "pipe") {
    rename(*options, "device", "path");
  } else if (type == "socket") {
    flatten_address(*options);
    if (options->find("server") == nullptr) options->set("server", true);
    if (options->find("wait") == nullptr) {
      options->set("wait", false);
    } else if (data.value("wait", false)) {
      return refuse("A monitor does not wait for the first client: 'wait' must be false");
    }
  }
  return options;
}

Result<size_t> ring_size(const JsonInput& data) {
  constexpr int64_t kMost = 64 << 20;
  const int64_t size = data.value("size", int64_t{65536});
  const bool power = size > 0 && (size & (size - 1)) == 0;
  if (!power) return refuse("size of ringbuf chardev must be power of two");
  if (size > kMost) return refuse(fmt::format("size of ringbuf chardev can be {} at most", kMost));
  return static_cast<size_t>(size);
}

Task<Result<std::unique_ptr<Chardev>>> make(std::string id, JsonInput backend) {
  const std::string type = backend["type"].get<std::string>();
  const JsonInput& data = backend["data"];
  if (type == "ringbuf" || type == "memory") {
    const Result<size_t> size = ring_size(data);
    if (!size) co_return fail(size.error());
    co_return std::make_unique<RingChardev>(std::move(id), *size);
  }
  Result<OptionDict> options = to_chardev_options(type, data);
  if (!options) co_return fail(options.error());
  co_return co_await make_chardev_of(type, std::move(id), std::move(*options));
}

std::optional<std::string> terminal_of(const Chardev& device) {
  const std::string name = device.filename();
  if (!name.starts_with(kTerminal)) return std::nullopt;
  return name.substr(kTerminal.size());
}

Result<RingChardev*> find_ring(Chardevs& channels, std::string_view id) {
  const Chardevs::Channel* channel = channels.find(id);
  if (channel == nullptr) return refuse(fmt::format("Device '{}' not found", id));
  if (auto* ring = dynamic_cast<RingChardev*>(channel->device.get())) return ring;
  return refuse(fmt::format("{} is not a ringbuf device", id));
}

}  // namespace

Result<void> Chardevs::add(std::unique_ptr<Chardev> device) {
  const std::string id = device->id();
  if (channels_.contains(id)) return refuse(fmt::format("Duplicate ID '{}' for chardev", id));
  channels_[id].device = std::move(device);
  return ok();
}

Chardevs::Channel* Chardevs::find(std::string_view id) {
  const auto found = channels_.find(id);
  return found == channels_.end() ? nullptr : &found->second;
}

void Chardevs::close() noexcept {
  for (const auto& [id, channel] : channels_) channel.device->close();
}

std::vector<monitor::ChardevHost::Listed> Chardevs::list_chardevs() const {
  std::vector<Listed> list;
  for (const auto& [id, channel] : channels_) {
    Listed row;
    row.label = id;
    row.filename = channel.device->filename();
    if (channel.use == Channel::Use::kMonitor) row.frontend = Listed::Frontend::kOpen;
    const bool connected = channel.link == Channel::Link::kUp;
    if (connected && row.filename.starts_with(kDisconnected)) {
      row.filename.erase(0, kDisconnected.size());
    }
    list.push_back(std::move(row));
  }
  return list;
}

Task<Result<std::optional<std::string>>> Chardevs::add_chardev(std::string id, JsonInput backend) {
  const auto taken = [&id] {
    return refuse(fmt::format("Chardev with id '{}' already exists", id), ErrorCode::kExists);
  };
  if (channels_.contains(id)) co_return taken();
  Result<std::unique_ptr<Chardev>> made = co_await make(id, std::move(backend));
  if (!made) {
    co_return refuse(fmt::format("Failed to add chardev '{}': {}", id, made.error().message()));
  }
  if (channels_.contains(id)) co_return taken();
  const std::optional<std::string> terminal = terminal_of(**made);
  channels_[id].device = std::move(*made);
  co_return terminal;
}

Task<Result<std::optional<std::string>>> Chardevs::change_chardev(std::string id,
                                                                  JsonInput backend) {
  const auto changeable = [this, &id]() -> Result<void> {
    const Channel* channel = find(id);
    if (channel == nullptr) return not_found(id);
    if (channel->use == Channel::Use::kFree) return ok();
    return refuse("Chardev user does not support chardev hotswap", ErrorCode::kBusy);
  };
  if (Result<void> may = changeable(); !may) co_return fail(may.error());
  Result<std::unique_ptr<Chardev>> made = co_await make(id, std::move(backend));
  if (!made) {
    co_return refuse(fmt::format("Failed to add chardev '{}': {}", id, made.error().message()));
  }
  if (Result<void> may = changeable(); !may) co_return fail(may.error());
  const std::optional<std::string> terminal = terminal_of(**made);
  Channel& channel = channels_[id];
  channel.device->close();
  channel.device = std::move(*made);
  co_return terminal;
}

Result<void> Chardevs::remove_chardev(std::string_view id) {
  const auto found = channels_.find(id);
  if (found == channels_.end()) return not_found(id);
  if (found->second.use != Channel::Use::kFree) {
    return refuse(fmt::format("Chardev '{}' is busy", id), ErrorCode::kBusy);
  }
  found->second.device->close();
  channels_.erase(found);
  return ok();
}

Result<void> Chardevs::check_chardev(std::string_view id) const {
  if (channels_.contains(id)) return ok();
  return not_found(id);
}

Result<void> Chardevs::write_ring(std::string_view id, std::string_view data) {
  const Result<RingChardev*> ring = find_ring(*this, id);
  if (!ring) return fail(ring.error());
  (*ring)->write(data);
  return ok();
}

Result<std::string> Chardevs::read_ring(std::string_view id, size_t size) {
  const Result<RingChardev*> ring = find_ring(*this, id);
  if (!ring) return fail(ring.error());
  return (*ring)->read(size);
}

}  // namespace ashlar::tools
