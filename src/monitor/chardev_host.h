// The channels of a program, as its monitors see them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "monitor/json.h"

namespace ashlar::monitor {

/// Implemented by programs that have channels. Control loop only. Errors are in the client's words.
class ChardevHost {
 public:
  virtual ~ChardevHost() = default;
  struct Listed {
    std::string label;
    std::string filename;
    enum class Frontend : uint8_t { kNone, kOpen } frontend = Frontend::kNone;  ///< who uses it
  };
  virtual std::vector<Listed> list_chardevs() const = 0;
  /// Makes the channel `id`; `backend` has "type" and "data". The answer names the terminal of
  /// those that are one.
  virtual Task<Result<std::optional<std::string>>> add_chardev(std::string id,
                                                               JsonInput backend) = 0;
  /// The same in the place of the channel of that id, which nobody uses.
  virtual Task<Result<std::optional<std::string>>> change_chardev(std::string id,
                                                                  JsonInput backend) = 0;
  virtual Result<void> remove_chardev(std::string_view id) = 0;
  virtual Result<void> check_chardev(std::string_view id) const = 0;
  /// Of a channel of type "ringbuf".
  virtual Result<void> write_ring(std::string_view id, std::string_view data) = 0;
  virtual Result<std::string> read_ring(std::string_view id, size_t size) = 0;
};

}  // namespace ashlar::monitor
