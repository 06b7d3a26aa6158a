// The NBD server of a program, as its monitors start and stop it.
#pragma once

#include <memory>
#include <vector>

#include "ashlar/loop.h"
#include "exports/nbd/server.h"
#include "monitor/json.h"
#include "monitor/types.h"

namespace ashlar::monitor {

class Monitor;
class Objects;

/// Loops that no iothread has, for as long as this exists.
class BorrowedLoops {
 public:
  /// At most `most` of them, as there are.
  BorrowedLoops(Objects& lender, size_t most);
  BorrowedLoops(const BorrowedLoops&) = delete;
  ~BorrowedLoops();
  const std::vector<Loop*>& loops() const { return loops_; }

 private:
  Objects& lender_;
  std::vector<Loop*> loops_;
};

/// Control loop only.
class NbdService {
 public:
  NbdService() = default;
  NbdService(const NbdService&) = delete;

  NbdServer* server() const { return server_.get(); }
  /// `options`: "addr" (with its members in it or in its "data"), "max-connections", ... as
  /// checked.
  Task<Result<void>> start(Monitor& monitor, JsonInput options);
  /// Ends the exports of the server, then the server.
  Task<Result<void>> stop(Monitor& monitor);
  /// Ends it without complaint; its exports have gone.
  Task<void> close();
  bool uses(const Loop& loop) const;

 private:
  void forget_loops();

  std::unique_ptr<NbdServer> server_;
  std::vector<Loop*> loops_;                 // of the server
  std::unique_ptr<BorrowedLoops> borrowed_;  // some of them, when no iothread was named
  bool starting_ = false;
};

/// Defines "NbdServerOptions" for command lines; monitors take the older form of addresses.
void define_nbd_types(Types& types);

}  // namespace ashlar::monitor
