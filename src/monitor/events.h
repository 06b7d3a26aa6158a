// Events: told to every monitor that listens, some of them not more often than once a second.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/loop.h"
#include "async/io_operation.h"
#include "async/sync.h"
#include "monitor/json.h"

namespace ashlar::monitor {

/// One kind of event.
struct EventSpec {
  std::string_view name;
  std::string_view data;  ///< its members, as Types reads them
  /// At most one of the same key in a second; the last of those held back is told then. The key is
  /// what is said in this member. Empty: not limited.
  std::string_view limited_by{};
};
std::span<const EventSpec> event_specs();

/// Somebody who wants events.
class EventListener {
 public:
  virtual ~EventListener() = default;
  virtual void event(const Json& event) = 0;
};

/// Control loop only.
class Events {
 public:
  Events() = default;
  Events(const Events&) = delete;
  ~Events();

  void add_listener(EventListener& listener) { listeners_.push_back(&listener); }
  void remove_listener(EventListener& listener);
  /// `name` is one of event_specs(). Held back when one like it was told less than a second ago.
  void emit(std::string_view name, Json data);
  /// Tells what was held back, and ends. Before destruction.
  Task<void> close();

 private:
  static constexpr uint64_t kPeriodNs = 1'000'000'000;
  struct Held {
    std::optional<Json> latest;
    IoOperation* timer = nullptr;
  };
  void tell(const Json& event);
  Task<void> release_later(std::string key);

  std::vector<EventListener*> listeners_;
  std::map<std::string, Held> held_;
  bool closing_ = false;
  Scope scope_;
};

}  // namespace ashlar::monitor
