// The claims of gate and epochs: nobody inside when it is said so, in any order and on threads.
#include "async/epoch.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "async/on_loop.h"
#include "async/sync.h"
#include "testing/simulated_runtime.h"

namespace ashlar {
namespace {

Task<void> run_there(Loop& loop, Task<void> task) {
  OnLoop<void> there(loop, std::move(task));
  co_await there;
}

Task<void> stay_inside(Gate& gate, std::string& order, char name) {
  const Gate::Pass pass = co_await gate.enter();
  order += name;
  co_await sleep_for(1'000'000);
  order += static_cast<char>(name - 'a' + 'A');
}

Task<void> close_and_note(Gate& gate, std::string& order) {
  co_await gate.close();
  order += '|';
}

template <typename Body>
std::string order_of(Body body) {
  SimulatedRuntime runtime(1);
  std::string order;
  sync_wait(runtime, body(order));
  return order;
}

TEST(Gate, ClosingWaitsForThoseInsideAndHoldsTheOthersInOrder) {
  struct Body {
    static Task<void> go(std::string& order) {
      Scope scope;
      Gate gate;
      scope.spawn(stay_inside(gate, order, 'a'));
      scope.spawn(close_and_note(gate, order));
      for (const char name : {'x', 'y', 'z'}) scope.spawn(stay_inside(gate, order, name));
      EXPECT_FALSE(gate.try_enter());
      EXPECT_EQ(gate.waiting(), 3u);
      co_await sleep_for(5'000'000);
      EXPECT_EQ(order, "aA|");
      gate.open();
      EXPECT_EQ(gate.inside(), 3u) << "the waiting are inside at once";
      co_await scope.join();
    }
  };
  EXPECT_EQ(order_of(Body::go), "aA|xyzXYZ");
}

TEST(Gate, OpensWhenTheLastCloserOpens) {
  struct Body {
    static Task<void> go(std::string& order) {
      Scope scope;
      Gate gate;
      co_await gate.close();
      co_await gate.close();
      scope.spawn(stay_inside(gate, order, 'a'));
      gate.open();
      co_await yield();
      EXPECT_TRUE(gate.closed());
      EXPECT_EQ(order, "");
      gate.open();
      co_await scope.join();
    }
  };
  EXPECT_EQ(order_of(Body::go), "aA");
}

TEST(Gate, TwoClosersWaitForTheSameEnd) {
  struct Body {
    static Task<void> go(std::string& order) {
      Scope scope;
      Gate gate;
      scope.spawn(stay_inside(gate, order, 'a'));
      scope.spawn(close_and_note(gate, order));
      scope.spawn(close_and_note(gate, order));
      co_await scope.join();
      gate.open();
      gate.open();
      EXPECT_TRUE(gate.try_enter());
    }
  };
  EXPECT_EQ(order_of(Body::go), "aA||");
}

/// What the gate protects: a plain number that only a closer changes.
struct Protected {
  Gate gate;
  int value = 0;
};

Task<void> read_often(Protected& state, int times) {
  for (int time = 0; time < times; ++time) {
    const Gate::Pass pass = co_await state.gate.enter();
    const int before = state.value;
    if (time % 4 == 0) co_await yield();
    EXPECT_EQ(state.value, before) << "changed while somebody was inside";
  }
}

Task<void> change_often(Protected& state, int times) {
  for (int time = 0; time < times; ++time) {
    co_await state.gate.close();
    EXPECT_EQ(state.gate.inside(), 0u);
    ++state.value;
    state.gate.open();
    co_await yield();
  }
}

Task<void> read_and_change(Runtime& runtime) {
  Scope scope;
  auto state = std::make_unique<Protected>();
  for (unsigned index = 0; index < 6; ++index) {
    scope.spawn(run_there(runtime.loop(index % 3), read_often(*state, 40)));
  }
  scope.spawn(change_often(*state, 20));
  co_await scope.join();
  co_await state->gate.close();  // and the gate may go as soon as it is closed and empty
  state->gate.open();
  state.reset();
}

TEST(Gate, NobodyIsInsideWhileItIsClosed) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SimulatedRuntime runtime(seed, 3);
    sync_wait(runtime, read_and_change(runtime));
  }
  auto runtime = Runtime::create({.io_loops = 2});
  for (int round = 0; round < 20; ++round) sync_wait(*runtime, read_and_change(*runtime));
}

Task<void> leave_soon(Gate::Pass pass) {
  co_await yield();
  pass.leave();
}

Task<void> destroy_when_empty(Runtime& runtime) {
  Scope scope;
  auto gate = std::make_unique<Gate>();
  for (unsigned index = 0; index < 3; ++index) {
    OnLoop<Gate::Pass> entered(runtime.loop(index), gate->enter());
    Gate::Pass pass = co_await entered;
    scope.spawn(run_there(runtime.loop(index), leave_soon(std::move(pass))));
  }
  co_await gate->close();
  gate->open();
  gate.reset();  // the last one may still be on its way out
  co_await scope.join();
}

TEST(Gate, MayBeDestroyedOnceItWasClosed) {
  auto runtime = Runtime::create({.io_loops = 2});
  for (int round = 0; round < 200; ++round) sync_wait(*runtime, destroy_when_empty(*runtime));
}

TEST(EpochDomain, AdvancesWhenNobodyIsInside) {
  struct Body {
    static Task<void> go(uint64_t& passed) {
      EpochDomain domain;
      const uint64_t before = domain.phase();
      co_await domain.wait_for_phase(before + 2);
      passed = domain.phase() - before;
    }
  };
  SimulatedRuntime runtime(1);
  uint64_t passed = 0;
  sync_wait(runtime, Body::go(passed));
  EXPECT_EQ(passed, 2u);
}

TEST(EpochDomain, AnOldReaderHoldsTheSecondPhaseBack) {
  struct Body {
    static Task<void> go() {
      EpochDomain domain;
      const uint64_t before = domain.phase();
      EpochDomain::Ticket reader = domain.enter();
      for (int tries = 0; tries < 5; ++tries) domain.try_advance();
      EXPECT_EQ(domain.phase(), before + 1);
      EXPECT_EQ(domain.inside(), 1u);
      const EpochDomain::Ticket newer = domain.enter();
      reader.leave();
      for (int tries = 0; tries < 5; ++tries) domain.try_advance();
      EXPECT_EQ(domain.phase(), before + 2) << "a newer reader holds back only the next one";
      co_return;
    }
  };
  SimulatedRuntime runtime(1);
  sync_wait(runtime, Body::go());
}

/// A resource that readers look up through a pointer, and that is poisoned when it is reused.
struct Shelf {
  EpochDomain domain;
  std::array<std::atomic<int>, 2> values{};  // of the two resources; -1: reused
  std::atomic<int> current{0};               // which one is reachable
  std::atomic<bool> over{false};
};

Task<void> read_shelf(Shelf& shelf) {
  while (!shelf.over.load()) {
    const EpochDomain::Ticket ticket = shelf.domain.enter();
    const int index = shelf.current.load(std::memory_order_relaxed);
    co_await yield();  // I/O on what was looked up
    EXPECT_NE(shelf.values[static_cast<size_t>(index)].load(std::memory_order_relaxed), -1)
        << "reused while a reader was inside";
  }
}

Task<void> replace_often(Shelf& shelf, int times) {
  for (int time = 0; time < times; ++time) {
    co_await yield();  // let readers in
    const int old = shelf.current.load();
    const auto other = static_cast<size_t>(1 - old);
    shelf.values[other].store(time, std::memory_order_relaxed);
    shelf.current.store(1 - old, std::memory_order_relaxed);  // the old one is unreachable now
    const uint64_t retired = shelf.domain.phase();
    co_await shelf.domain.wait_for_phase(retired + 2);
    shelf.values[static_cast<size_t>(old)].store(-1, std::memory_order_relaxed);
  }
  shelf.over.store(true);
}

Task<void> read_and_replace(Runtime& runtime, int times) {
  Scope scope;
  auto shelf = std::make_unique<Shelf>();
  for (unsigned index = 0; index < 6; ++index) {
    scope.spawn(run_there(runtime.loop(index % 3), read_shelf(*shelf)));
  }
  scope.spawn(replace_often(*shelf, times));
  co_await scope.join();
}

TEST(EpochDomain, ARetiredThingIsNotReusedWhileAnOldReaderIsInside) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SimulatedRuntime runtime(seed, 3);
    sync_wait(runtime, read_and_replace(runtime, 20));
  }
}

TEST(EpochDomain, NorBetweenThreads) {
  auto runtime = Runtime::create({.io_loops = 2});
  sync_wait(*runtime, read_and_replace(*runtime, 50));
}

}  // namespace
}  // namespace ashlar
