// Random numbers that a seed replays: for schedulers, fault injection and random histories.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ashlar {

class SeededRandom {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}

  /// 64 random bits.
  uint64_t next() noexcept {
    state_ += 0x9e3779b97f4a7c15u;  // splitmix64: every seed gives a full period
    uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
  }

  /// A number below `limit`, which is not 0. Even enough for tests.
  uint64_t below(uint64_t limit) noexcept {
    assert(limit != 0);
    return next() % limit;
  }
  /// A number from `first` to `last`, both included.
  uint64_t between(uint64_t first, uint64_t last) noexcept {
    return first + below(last - first + 1);
  }
  /// True once in `times` on average.
  bool one_in(uint64_t times) noexcept { return below(times) == 0; }

  void fill(std::span<std::byte> bytes) noexcept {
    while (!bytes.empty()) {
      const uint64_t word = next();
      const size_t count = bytes.size() < sizeof word ? bytes.size() : sizeof word;
      std::memcpy(bytes.data(), &word, count);
      bytes = bytes.subspan(count);
    }
  }

 private:
  uint64_t state_;
};

}  // namespace ashlar
