// A small NBD server for tests: an export in memory, with as much of the protocol as a test wants.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "ashlar/loop.h"
#include "ashlar/stream.h"
#include "protocols/nbd_handshake.h"
#include "protocols/nbd_transmission.h"
#include "testing/sparse_bytes.h"
#include "testing/temporary_folder.h"

namespace ashlar::testing {

/// What the server has and what it admits to.
struct FakeExport {
  explicit FakeExport(uint64_t size = 0) : bytes(size) {}

  SparseBytes bytes;
  std::mutex guard;  ///< of bytes: connections may be on several loops
  std::string name;
  uint16_t flags = nbd::transmission_flag::kHasFlags | nbd::transmission_flag::kFlush |
                   nbd::transmission_flag::kFua | nbd::transmission_flag::kTrim |
                   nbd::transmission_flag::kWriteZeroes | nbd::transmission_flag::kMultiConn |
                   nbd::transmission_flag::kFastZero;
  std::optional<nbd::BlockSizes> sizes;
  enum class Age : uint8_t {
    kExtended,    ///< extended headers, and all that came before
    kStructured,  ///< structured replies and metadata contexts
    kSimple,      ///< kGo, but simple replies
    kNoGo,        ///< fixed, but only kExportName opens an export
    kOldNew,      ///< not fixed: kExportName and nothing else
    kOldStyle,
  } age = Age::kExtended;
  std::atomic<unsigned> flushes = 0;
};

/// Serves one connection until it ends or the client breaks the protocol.
Task<void> serve_fake_nbd(std::unique_ptr<Stream> stream, FakeExport& exported);

/// Serves a unix socket from a thread of its own.
class FakeNbdServer {
 public:
  explicit FakeNbdServer(FakeExport& exported);
  ~FakeNbdServer();
  std::string path() const { return folder_.path("nbd.sock"); }
  /// Breaks all connections; new ones are taken.
  void cut();

 private:
  struct State;
  struct Order;
  void carry_out(void (*what)(Posted&) noexcept);
  TemporaryFolder folder_;
  std::unique_ptr<State> state_;
  std::thread thread_;
};

}  // namespace ashlar::testing
