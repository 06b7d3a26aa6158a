// Random histories on qcow2. Some of them: ASHLAR_HISTORY=<first seed>[-<last>]; many more:
// ASHLAR_SOAK=1.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "testing/random_history.h"

namespace ashlar {
namespace {

struct Seeds {
  uint64_t first = 1;
  uint64_t last = 2'000;
};

Seeds wanted_seeds() {
  Seeds seeds;
  if (std::getenv("ASHLAR_SOAK") != nullptr) seeds.last = 100'000;
  if (const char* chosen = std::getenv("ASHLAR_HISTORY")) {
    char* rest = nullptr;
    seeds.first = std::strtoull(chosen, &rest, 0);
    seeds.last = *rest == '-' ? std::strtoull(rest + 1, nullptr, 0) : seeds.first;
  }
  return seeds;
}

std::string run_history(uint64_t seed) {
  RandomHistory history(HistoryMix::from_seed(seed));
  return history.run();
}

TEST(Qcow2History, ReadsWhatWasWrittenAndLeaksNothing) {
  const Seeds seeds = wanted_seeds();
  int failures = 0;
  for (uint64_t seed = seeds.first; seed <= seeds.last && failures < 3; ++seed) {
    const std::string failure = run_history(seed);
    if (failure.empty()) continue;
    ++failures;
    ADD_FAILURE() << "ASHLAR_HISTORY=" << seed << " replays it: " << failure;
  }
}

}  // namespace
}  // namespace ashlar
