// What GCC 12 does to coroutines: the forms that this project uses, which every compiler gets
// right, and, counted, the ones that it must not use.
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ashlar/bytes.h"
#include "ashlar/task.h"
#include "async/on_loop.h"

namespace ashlar {
namespace {

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
constexpr bool kDestroysTwice = true;
#else
constexpr bool kDestroysTwice = false;
#endif

/// Knows how many of its kind were made and destroyed. Not copied by memory: destruction is
/// visible.
struct Counted {
  explicit Counted(int& alive) : count(&alive) { ++*count; }
  Counted(const Counted& other) : count(other.count) { ++*count; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --*count; }
  int* count;
};

struct Aggregate {
  Counted member;
  int number;
};

class WithConstructor {
 public:
  WithConstructor(Counted member, int number) : member_(std::move(member)), number_(number) {}
  int number() const { return number_; }

 private:
  Counted member_;
  int number_;
};

Task<int> take_aggregate(Aggregate value) { co_return value.number; }
Task<int> take_object(WithConstructor value) { co_return value.number(); }
Task<int> take_text(std::string text) { co_return static_cast<int>(text.size()); }
Task<int> echo(int value) { co_return value; }

template <typename Function>
Task<int> call_with_one(Function function) {
  co_return function(1);
}

/// Runs `task`, which completes at once. Empty when it did not.
std::optional<int> run(Task<int> task) {
  struct Runner {
    static Detached go(Task<int> task, std::optional<int>& result) { result = co_await task; }
  };
  std::optional<int> result;
  Runner::go(std::move(task), result);
  return result;
}

Task<int> aggregate_in_place(int& alive) {
  const int number = co_await take_aggregate(Aggregate{Counted(alive), 5});
  co_return number;
}
Task<int> aggregate_named(int& alive) {
  Aggregate value{Counted(alive), 5};
  const int number = co_await take_aggregate(std::move(value));
  co_return number;
}

TEST(CompilerTraps, AnAggregateMadeInsideCoAwaitIsDestroyedTwice) {
  int alive = 0;
  EXPECT_EQ(run(aggregate_in_place(alive)), 5);
  EXPECT_EQ(alive, kDestroysTwice ? -1 : 0);
}

TEST(CompilerTraps, AnAggregateThatHasANameIsSafe) {
  int alive = 0;
  EXPECT_EQ(run(aggregate_named(alive)), 5);
  EXPECT_EQ(alive, 0);
}

Task<int> lambda_in_place(int& alive) {
  const Counted captured(alive);
  const int number = co_await call_with_one([captured](int value) { return value + 1; });
  co_return number;
}
Task<int> lambda_named(int& alive) {
  const Counted captured(alive);
  auto function = [captured](int value) { return value + 1; };
  const int number = co_await call_with_one(std::move(function));
  co_return number;
}

TEST(CompilerTraps, ACapturingLambdaMadeInsideCoAwaitIsDestroyedTwice) {
  int alive = 0;
  EXPECT_EQ(run(lambda_in_place(alive)), 2);
  EXPECT_EQ(alive, kDestroysTwice ? -1 : 0);
}

TEST(CompilerTraps, ACapturingLambdaThatHasANameIsSafe) {
  int alive = 0;
  EXPECT_EQ(run(lambda_named(alive)), 2);
  EXPECT_EQ(alive, 0);
}

struct AggregateAwaiter {
  Counted member;
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return 9; }
};
class ProperAwaiter {
 public:
  explicit ProperAwaiter(Counted member) : member_(std::move(member)) {}
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return 9; }

 private:
  Counted member_;
};

Task<int> aggregate_awaiter(int& alive) {
  const int number = co_await AggregateAwaiter{Counted(alive)};
  co_return number;
}
Task<int> proper_awaiter(int& alive) {
  const int number = co_await ProperAwaiter(Counted(alive));
  co_return number;
}

TEST(CompilerTraps, AnAggregateAwaiterIsDestroyedTwice) {
  int alive = 0;
  EXPECT_EQ(run(aggregate_awaiter(alive)), 9);
  EXPECT_EQ(alive, kDestroysTwice ? -1 : 0);
}

TEST(CompilerTraps, AnAwaiterWithAConstructorIsSafe) {
  int alive = 0;
  EXPECT_EQ(run(proper_awaiter(alive)), 9);
  EXPECT_EQ(alive, 0);
}

Task<int> object_in_place(int& alive) {
  const int number = co_await take_object(WithConstructor(Counted(alive), 6));
  co_return number;
}
Task<int> texts_in_place() {
  const int made = co_await take_text(std::string(3, 'x'));
  const int converted = co_await take_text("four");
  const int joined = co_await take_text("a" + std::to_string(12));
  co_return made + converted + joined;
}

TEST(CompilerTraps, AnObjectWithAConstructorMadeInsideCoAwaitIsSafe) {
  int alive = 0;
  EXPECT_EQ(run(object_in_place(alive)), 6);
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(run(texts_in_place()), 10);
}

// A condition like `if (co_await echo(value) == 3)` is not here: in a coroutine that declares no
// variable GCC 12 drops the whole body, and tests/checks/check_coroutines.py refuses it.

Task<int> value_named_first(int value) {
  const int got = co_await echo(value);
  if (got == 3) co_return 1;
  co_return 0;
}
Task<int> declared_in_the_condition(int value) {
  if (const int got = co_await echo(value); got == 3) co_return 1;
  co_return 0;
}
Task<int> awaited_in_a_branch(int value) {
  if (value == 3) co_return co_await echo(1);
  co_return 0;
}
Task<int> awaited_in_an_operand(int value) {
  co_return value == 3 && co_await echo(value) == 3 ? co_await echo(1) : 0;
}

TEST(CompilerTraps, TheseConditionsOnAwaitedValuesAreSafe) {
  for (auto form :
       {value_named_first, declared_in_the_condition, awaited_in_a_branch, awaited_in_an_operand}) {
    EXPECT_EQ(run(form(3)), 1);
    EXPECT_EQ(run(form(4)), 0);
  }
}

Task<int> shrinking_views(ByteRange range, ConstBuffers bytes) {
  int rounds = 0;
  while (!range.empty()) {
    const int step = co_await echo(2);
    range = range.after(static_cast<uint64_t>(step));
    bytes = bytes.from(static_cast<size_t>(step));
    if (range.offset + range.length != 10 || bytes.size() != range.length) co_return -1;
    ++rounds;
  }
  co_return rounds;
}

TEST(CompilerTraps, AViewMayBeAssignedFromItself) {
  const std::array<std::byte, 10> bytes = {};
  EXPECT_EQ(run(shrinking_views({0, 10}, ConstBuffers(bytes.data(), bytes.size()))), 5);
}

Task<int> big_local_in_a_function() {
  struct Scratch {
    static int sum() {
      std::array<int, 1024> scratch;
      scratch.fill(1);
      int sum = 0;
      for (const int value : scratch) sum += value;
      return sum;
    }
  };
  const int one = co_await echo(1);
  co_return Scratch::sum() + one;
}

TEST(CompilerTraps, ABigLocalOfACalledFunctionStaysOutOfTheFrame) {
  EXPECT_EQ(run(big_local_in_a_function()), 1025);
}

}  // namespace
}  // namespace ashlar
