// Writes what is said to a client in order, without holding up who says it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ashlar/stream.h"
#include "async/sync.h"

namespace ashlar::monitor {

/// A bounded queue in front of a stream. A client that lets more than kLimit bytes lie unread is
/// cut off. One loop only.
class LineWriter {
 public:
  static constexpr size_t kLimit = size_t{32} << 20;
  explicit LineWriter(Stream& stream) : stream_(stream) {}
  LineWriter(const LineWriter&) = delete;

  void add(std::string_view text);
  /// Waits until all that was added before has been written, or cannot be any more.
  Task<void> flush();
  /// Writes what is added, until finish().
  Task<void> run();
  void finish();

 private:
  struct Waiting {
    uint64_t upto;
    Semaphore* done;
  };
  void wake_flushers();

  Stream& stream_;
  std::string pending_;
  uint64_t added_ = 0;
  uint64_t written_ = 0;
  bool finishing_ = false;
  bool broken_ = false;
  Semaphore work_{0};
  std::vector<Waiting> waiting_;
};

}  // namespace ashlar::monitor
