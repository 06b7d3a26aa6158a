// Limits as options: names, values, and what makes sense together.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "ashlar/throttle.h"

namespace ashlar {
namespace {

using Rate = ThrottleLimits::Rate;

constexpr std::array<std::string_view, ThrottleLimits::kKinds> kNames{
    "bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"};
constexpr std::string_view kRequestSize = "iops-size";
constexpr uint64_t kMaxSeconds = std::numeric_limits<uint32_t>::max();

/// One value of the limits, by its name.
struct Entry {
  std::string name;
  uint64_t& value;
  enum class Meaning : uint8_t { kRate, kSeconds, kSize } meaning;
};

std::vector<Entry> entries_of(ThrottleLimits& limits) {
  std::vector<Entry> entries;
  entries.reserve(kNames.size() * 3 + 1);
  for (size_t i = 0; i < kNames.size(); ++i) {
    const std::string name(kNames[i]);
    Rate& rate = limits.rates[i];
    entries.push_back({name, rate.average, Entry::Meaning::kRate});
    entries.push_back({name + "-max", rate.burst, Entry::Meaning::kRate});
    entries.push_back({name + "-max-length", rate.burst_seconds, Entry::Meaning::kSeconds});
  }
  entries.push_back({std::string(kRequestSize), limits.request_size, Entry::Meaning::kSize});
  return entries;
}

std::unexpected<Error> senseless(std::string_view reason, std::string message) {
  return fail(Error(ErrorCode::kInvalidArgument, std::move(message)).because(reason));
}

/// The number in `value`; negative ones are what they are.
Result<int64_t> number_in(const std::string& key, const OptionValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  if (const auto* text = std::get_if<std::string>(&value)) {
    const Result<uint64_t> parsed = parse_number(*text);
    constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
    if (parsed && *parsed <= kMost) return static_cast<int64_t>(*parsed);
  }
  return fail(Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" wants a whole number", key))
                  .because("throttle-type", {key}));
}

Result<void> check_range(const std::string& key, const Entry& entry, int64_t value) {
  const bool negative = value < 0;
  const auto number = static_cast<uint64_t>(value);
  if (entry.meaning == Entry::Meaning::kSeconds && (negative || number > kMaxSeconds)) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      fmt::format("\"{}\" is from 0 to {}, not {}", key, kMaxSeconds, value))
                    .because("throttle-length-range", {entry.name}));
  }
  if (negative || (entry.meaning == Entry::Meaning::kRate && number > ThrottleLimits::kMaxRate)) {
    return fail(
        Error(ErrorCode::kInvalidArgument,
              fmt::format("\"{}\" is from 0 to {}, not {}", key, ThrottleLimits::kMaxRate, value))
            .because("throttle-range", {key}));
  }
  return ok();
}

/// Whether both together and one direction are limited.
bool contradicts(const std::array<Rate, ThrottleLimits::kKinds>& rates, size_t total) {
  const auto either = [&](uint64_t Rate::* value) {
    return rates[total].*value != 0 &&
           (rates[total + 1].*value != 0 || rates[total + 2].*value != 0);
  };
  return either(&Rate::average) || either(&Rate::burst);
}

Result<void> check_rate(std::string_view name, const Rate& rate) {
  if (rate.burst_seconds == 0) {
    return senseless("throttle-length-zero", fmt::format("a burst of \"{}\" lasts 0 s", name));
  }
  if (rate.burst_seconds > 1 && rate.burst == 0) {
    return senseless("throttle-length-without-burst",
                     fmt::format("\"{}-max-length\" without \"{}-max\"", name, name));
  }
  if (rate.burst != 0 && rate.burst_seconds > ThrottleLimits::kMaxRate / rate.burst) {
    return senseless("throttle-length-high",
                     fmt::format("a burst of \"{}\" comes to more than {} in all", name,
                                 ThrottleLimits::kMaxRate));
  }
  if (rate.burst != 0 && rate.average == 0) {
    return senseless("throttle-burst-without-average",
                     fmt::format("\"{}-max\" without \"{}\"", name, name));
  }
  if (rate.burst != 0 && rate.burst < rate.average) {
    return senseless("throttle-burst-low",
                     fmt::format("\"{}-max\" is {}, below \"{}\", which is {}", name, rate.burst,
                                 name, rate.average));
  }
  return ok();
}

class NoGroups final : public ThrottleGroupStore {
 public:
  std::shared_ptr<ThrottleGroup> throttle_group(std::string_view) const override { return nullptr; }
};

}  // namespace

Result<void> ThrottleLimits::take(OptionDict& dict, std::string_view prefix) {
  ThrottleLimits changed = *this;
  for (const Entry& entry : entries_of(changed)) {
    const std::string key = std::string(prefix) + entry.name;
    const OptionValue* value = dict.find(key);
    if (value == nullptr) continue;
    const Result<int64_t> number = number_in(key, *value);
    if (!number) return fail(number.error());
    if (Result<void> fits = check_range(key, entry, *number); !fits) return fits;
    entry.value = static_cast<uint64_t>(*number);
    dict.erase(key);
  }
  *this = changed;
  return ok();
}

Result<void> ThrottleLimits::check() const {
  if (contradicts(rates, kBytesTotal) || contradicts(rates, kRequestsTotal)) {
    return senseless("throttle-total-and-one",
                     "a limit of reads or writes and one of both together exclude each other");
  }
  const bool counts_requests = rates[kRequestsTotal].average != 0 ||
                               rates[kRequestsRead].average != 0 ||
                               rates[kRequestsWrite].average != 0;
  if (request_size != 0 && !counts_requests) {
    return senseless("throttle-size-alone", "\"iops-size\" without a limit of requests");
  }
  for (size_t i = 0; i < rates.size(); ++i) {
    if (Result<void> sound = check_rate(kNames[i], rates[i]); !sound) return sound;
  }
  return ok();
}

std::vector<std::pair<std::string, uint64_t>> ThrottleLimits::entries() const {
  ThrottleLimits copy = *this;
  std::vector<std::pair<std::string, uint64_t>> list;
  for (const Entry& entry : entries_of(copy)) list.emplace_back(entry.name, entry.value);
  return list;
}

std::shared_ptr<const ThrottleGroupStore> no_throttle_groups() {
  return std::make_shared<NoGroups>();
}

}  // namespace ashlar
