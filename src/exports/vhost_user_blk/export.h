// A running vhost-user-blk export: listens, serves one client after the other.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ashlar/backend.h"
#include "ashlar/export.h"
#include "ashlar/stream.h"
#include "async/sync.h"
#include "exports/vhost_user_blk/block_device.h"
#include "exports/vhost_user_blk/connection.h"

namespace ashlar::vhost {

class VhostUserBlkExport final : public Export, private DeviceCallbacks {
 public:
  VhostUserBlkExport(ExportSetup setup, BlockDevice::Setup device)
      : setup_(std::move(setup)), device_(std::move(device)) {}

  /// Takes the backend and starts to serve `listener`. Errors: of the backend, which is as before.
  Result<void> start(std::unique_ptr<Listener> listener);

  bool in_use() const override { return connection_ != nullptr; }
  Task<void> close() override;

  /// Why the client before this one is gone.
  const std::optional<Error>& last_end() const noexcept { return last_end_; }
  size_t clients_served() const noexcept { return clients_served_; }

 private:
  // DeviceCallbacks
  void medium_changed(Medium) override { config_changed(); }
  void resized(uint64_t) override { config_changed(); }
  std::string describe() const override { return "export \"" + setup_.id + "\""; }

  Task<void> serve();
  Task<void> serve_client(std::unique_ptr<Stream> stream);
  void config_changed();

  ExportSetup setup_;
  BlockDevice device_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Connection> connection_;
  std::optional<Error> last_end_;
  size_t clients_served_ = 0;
  Scope serving_;
  bool closing_ = false;
};

}  // namespace ashlar::vhost
