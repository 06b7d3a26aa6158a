// The list of events, and how they are told.
#include "monitor/events.h"

#include <algorithm>
#include <cassert>

#include "async/cancel.h"

namespace ashlar::monitor {
namespace {

constexpr EventSpec kEvents[] = {
    {"BLOCK_IMAGE_CORRUPTED",
     "device:str, *node-name:str, msg:str, *offset:int, *size:int, fatal:bool"},
    {"BLOCK_IO_ERROR",
     "qom-path:str, device:str, *node-name:str, operation:(read write), "
     "action:(ignore report stop), *nospace:bool, reason:str",
     "device"},
    {"JOB_STATUS_CHANGE", "id:str, status:JobStatus"},
    {"BLOCK_EXPORT_DELETED", "id:str"},
    {"BLOCK_WRITE_THRESHOLD", "node-name:str, amount-exceeded:int, write-threshold:int"},
    {"DEVICE_TRAY_MOVED", "device:str, id:str, tray-open:bool"},
    {"BACKEND_DELETED", "id:str"},
    {"STOP", ""},
    {"RESUME", ""},
};

const EventSpec* find_event(std::string_view name) {
  const auto found = std::ranges::find(kEvents, name, &EventSpec::name);
  return found == std::end(kEvents) ? nullptr : found;
}

/// What events are held back by; empty: told at once. One that says that everything stops never
/// waits.
std::string limit_key(const EventSpec& spec, const Json& data) {
  if (spec.limited_by.empty()) return {};
  if (data.contains("action") && data["action"] == "stop") return {};
  std::string key(spec.name);
  const auto member = data.find(std::string(spec.limited_by));
  if (member != data.end()) key.append("/").append(member->get<std::string>());
  return key;
}

Json with_time(const EventSpec& spec, Json data) {
  constexpr uint64_t kMicrosecond = 1000;
  constexpr uint64_t kSecond = 1'000'000'000;
  const uint64_t now = Loop::current().wall_clock_ns();
  Json event = Json::object();
  event["timestamp"] = {{"seconds", now / kSecond}, {"microseconds", now % kSecond / kMicrosecond}};
  event["event"] = spec.name;
  if (!data.empty()) event["data"] = std::move(data);
  return event;
}

}  // namespace

std::span<const EventSpec> event_specs() { return kEvents; }

Events::~Events() { assert(held_.empty()); }

void Events::remove_listener(EventListener& listener) { std::erase(listeners_, &listener); }

void Events::tell(const Json& event) {
  // By index: a listener that cannot take it may leave while it is told.
  for (size_t at = 0; at < listeners_.size(); ++at) listeners_[at]->event(event);
}

void Events::emit(std::string_view name, Json data) {
  const EventSpec* spec = find_event(name);
  assert(spec != nullptr);
  const std::string key = limit_key(*spec, data);
  Json event = with_time(*spec, std::move(data));
  if (key.empty() || closing_) return tell(event);
  const auto [held, first] = held_.try_emplace(key);
  if (!first) {
    held->second.latest = std::move(event);
    return;
  }
  tell(event);
  scope_.spawn(release_later(key));
}

Task<void> Events::release_later(std::string key) {
  while (!closing_) {
    IoOperation timer = IoOperation::timer(Loop::current().now_ns() + kPeriodNs);
    held_[key].timer = &timer;
    co_await timer;
    Held& held = held_[key];
    held.timer = nullptr;
    if (!held.latest) break;
    const Json event = *std::exchange(held.latest, std::nullopt);
    tell(event);
  }
  held_.erase(key);
}

Task<void> Events::close() {
  closing_ = true;
  for (auto& [key, held] : held_) {
    if (held.timer != nullptr) request_cancel(*held.timer);
  }
  co_await scope_.join();
}

}  // namespace ashlar::monitor
