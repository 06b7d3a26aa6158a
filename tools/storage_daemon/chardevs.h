// The channels of the daemon by their ids.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/chardev_host.h"
#include "tools/storage_daemon/chardev.h"

namespace ashlar::tools {

/// Control loop only.
class Chardevs final : public monitor::ChardevHost {
 public:
  struct Channel {
    std::unique_ptr<Chardev> device;
    enum class Use : uint8_t { kFree, kMonitor } use = Use::kFree;
    enum class Link : uint8_t { kDown, kUp } link = Link::kDown;  ///< of a monitor's client
  };
  /// Errors: the id is taken.
  Result<void> add(std::unique_ptr<Chardev> device);
  /// Null when there is none. Stays where it is until it is removed.
  Channel* find(std::string_view id);
  /// Ends all waiting for clients.
  void close() noexcept;

  // monitor::ChardevHost
  std::vector<Listed> list_chardevs() const override;
  Task<Result<std::optional<std::string>>> add_chardev(std::string id,
                                                       monitor::JsonInput backend) override;
  Task<Result<std::optional<std::string>>> change_chardev(std::string id,
                                                          monitor::JsonInput backend) override;
  Result<void> remove_chardev(std::string_view id) override;
  Result<void> check_chardev(std::string_view id) const override;
  Result<void> write_ring(std::string_view id, std::string_view data) override;
  Result<std::string> read_ring(std::string_view id, size_t size) override;

 private:
  std::map<std::string, Channel, std::less<>> channels_;
};

}  // namespace ashlar::tools
