// iothread objects: the loop behind one, and how it is tuned.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "monitor/errors.h"
#include "monitor/object_states.h"

namespace ashlar::monitor {
namespace {

/// What people and scripts expect of an iothread that they did not tune.
constexpr uint64_t kUsualPollNs = 32768;

struct TuningProperty {
  std::string_view name;
  uint64_t LoopTuning::* member;
};
constexpr std::array kTuning{
    TuningProperty{"poll-max-ns", &LoopTuning::poll_max_ns},
    TuningProperty{"poll-grow", &LoopTuning::poll_grow},
    TuningProperty{"poll-shrink", &LoopTuning::poll_shrink},
    TuningProperty{"poll-weight", &LoopTuning::poll_weight},
    TuningProperty{"aio-max-batch", &LoopTuning::max_batch},
};

Result<uint64_t> natural(const std::string& name, const JsonInput& value) {
  const bool fits = value.is_number_unsigned() || value.get<int64_t>() >= 0;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  if (fits && value.get<uint64_t>() <= uint64_t{kMost}) return value.get<uint64_t>();
  return refuse(fmt::format("{} value must be in range [0, {}]", name, kMost));
}

}  // namespace

IoThreadState::IoThreadState(Objects& objects, Loop& loop) : objects_(objects), loop_(loop) {
  tuning_.poll_max_ns = kUsualPollNs;
}

IoThreadState::~IoThreadState() { objects_.return_loop(loop_); }

Result<void> IoThreadState::take(const std::string& name, const JsonInput& value) {
  const Result<uint64_t> number = natural(name, value);
  if (!number) return fail(number.error());
  const auto tuned = std::ranges::find(kTuning, name, &TuningProperty::name);
  if (tuned != kTuning.end()) {
    tuning_.*tuned->member = *number;
  } else if (name == "thread-pool-min") {
    thread_pool_min_ = *number;
  } else {
    thread_pool_max_ = *number;
  }
  return ok();
}

Result<void> IoThreadState::apply() {
  if (thread_pool_max_ == 0 || thread_pool_min_ > thread_pool_max_) {
    return refuse("bad thread-pool-min/thread-pool-max values");
  }
  tune(loop_, tuning_);
  return ok();
}

Result<void> IoThreadState::set_all(const JsonInput& properties) {
  for (const auto& [name, value] : properties.items()) {
    if (Result<void> taken = take(name, value); !taken) return taken;
  }
  return apply();
}

Result<void> IoThreadState::set_property(const std::string& name, const JsonInput& value) {
  const LoopTuning tuning = tuning_;
  const uint64_t least = thread_pool_min_;
  const uint64_t most = thread_pool_max_;
  Result<void> set = take(name, value);
  if (set) set = apply();
  if (set) return set;
  tuning_ = tuning;
  thread_pool_min_ = least;
  thread_pool_max_ = most;
  return set;
}

std::optional<Json> IoThreadState::property(std::string_view name) const {
  const auto tuned = std::ranges::find(kTuning, name, &TuningProperty::name);
  if (tuned != kTuning.end()) return Json(tuning_.*tuned->member);
  if (name == "thread-pool-min") return Json(thread_pool_min_);
  if (name == "thread-pool-max") return Json(thread_pool_max_);
  return std::nullopt;
}

}  // namespace ashlar::monitor
