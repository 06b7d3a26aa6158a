// A channel that keeps what was written to it last.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tools/storage_daemon/chardev.h"

namespace ashlar::tools {

/// Nobody connects to it: monitors write and read it by commands.
class RingChardev final : public Chardev {
 public:
  RingChardev(std::string id, size_t size) : Chardev(std::move(id)), size_(size) {}

  std::string filename() const override { return "ringbuf"; }
  Task<Result<std::unique_ptr<Stream>>> next() override {
    co_return fail(ErrorCode::kClosed, "a buffer has no connections");
  }
  void close() noexcept override {}

  /// What does not fit pushes out what is oldest.
  void write(std::string_view data) {
    kept_.append(data.substr(data.size() - std::min(data.size(), size_)));
    if (kept_.size() > size_) kept_.erase(0, kept_.size() - size_);
  }
  /// Takes up to `most` of the oldest bytes out.
  std::string read(size_t most) {
    std::string taken = kept_.substr(0, most);
    kept_.erase(0, taken.size());
    return taken;
  }

 private:
  const size_t size_;
  std::string kept_;
};

}  // namespace ashlar::tools
