// Random histories on qcow2. One of them again: ASHLAR_HISTORY=<seed>; more: ASHLAR_SOAK=1.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "testing/random_history.h"

namespace ashlar {
namespace {

uint64_t history_count() { return std::getenv("ASHLAR_SOAK") != nullptr ? 100'000 : 2'000; }

std::string run_history(uint64_t seed) {
  RandomHistory history(HistoryMix::from_seed(seed));
  return history.run();
}

TEST(Qcow2History, ReadsWhatWasWrittenAndLeaksNothing) {
  if (const char* one = std::getenv("ASHLAR_HISTORY")) {
    ASSERT_EQ(run_history(std::strtoull(one, nullptr, 0)), "");
    return;
  }
  int failures = 0;
  for (uint64_t seed = 1; seed <= history_count() && failures < 3; ++seed) {
    const std::string failure = run_history(seed);
    if (failure.empty()) continue;
    ++failures;
    ADD_FAILURE() << "ASHLAR_HISTORY=" << seed << " replays it: " << failure;
  }
}

}  // namespace
}  // namespace ashlar
