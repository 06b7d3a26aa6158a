// The suite that every device passes, whatever is below it: in range and out of range, aligned and
// not, alone and from several loops.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "ashlar/driver.h"
#include "ashlar/loop.h"
#include "ashlar/options.h"
#include "ashlar/throttle.h"

namespace ashlar {

/// What is put to the test.
struct ConformanceSubject {
  /// Makes a medium of `size` bytes that has never been written and gives the options that open it.
  /// Called once for every case.
  std::function<OptionDict(uint64_t size)> make;
  OpenFlags flags{};
  RuntimeOptions runtime{};
  std::shared_ptr<const ThrottleGroupStore> throttle_groups{};
  /// Devices that keep nothing are tested for what they accept and refuse.
  enum class Keeps : uint8_t { kEverything, kWhileOpen, kNothing } keeps = Keeps::kEverything;
};

/// Runs all cases. What went wrong, a line each; empty: the device conforms.
/// In a test: EXPECT_EQ(run_conformance(subject), "");
std::string run_conformance(const ConformanceSubject& subject);

}  // namespace ashlar
