// Requests of a backend: in through the gate, checked, to the root node, counted.
#include <fmt/format.h>

#include <optional>

#include "async/on_loop.h"
#include "backend/backend_impl.h"
#include "backend/guessed_raw.h"
#include "graph/graph_state.h"
#include "request/request.h"

namespace ashlar {

namespace {

/// Requests that may wait at a closed gate. Frontends have far fewer in flight.
constexpr size_t kMaxWaiting = 65536;

using Counter = StatisticsSlots::Counter;
using Kind = ErrorPolicies::Operation;

Task<Result<void>> then_settle(GraphNode& node, Task<Result<void>> work) {
  Result<void> done = co_await std::move(work);
  if (done) done = co_await request::settle(node);
  co_return done;
}

}  // namespace

// What requests differ in: whether they write, which counters they move, and how they run.

struct BackendImpl::Read {
  static constexpr Kind kKind = Kind::kRead;
  ByteRange range;
  MutableBuffers into;

  std::optional<Result<void>> now(GraphNode& node) const noexcept {
    return request::read_now(node, range, into);
  }
  Task<Result<void>> run(GraphNode& node) const { return request::read(node, range, into); }
  void count(StatisticsSlots& statistics) const {
    statistics.add(Counter::kReads, 1);
    statistics.add(Counter::kReadBytes, range.length);
  }
};

struct BackendImpl::Write {
  static constexpr Kind kKind = Kind::kWrite;
  ByteRange range;
  ConstBuffers from;
  WriteFlags flags;
  Mutex* head_writes;

  std::optional<Result<void>> now(GraphNode& node) const noexcept {
    if (flags.fua || flags.compressed || may_change_guess(node, range)) return std::nullopt;
    std::optional<Result<void>> done = request::write_now(node, range, from);
    // Into a cluster that only this process knows of: once more, and then it has to wait.
    if (done && flags.outlives_process && !request::settled(node)) return std::nullopt;
    return done;
  }
  Task<Result<void>> run(GraphNode& node) const {
    if (may_change_guess(node, range)) return run_guarded(*this, node);
    Task<Result<void>> work = request::write(node, range, from, flags);
    return flags.outlives_process ? then_settle(node, std::move(work)) : std::move(work);
  }
  static Task<Result<void>> run_guarded(Write self, GraphNode& node) {
    const Mutex::Guard one_at_a_time = co_await self.head_writes->lock();
    co_return co_await write_guessed(node, self.range, self.from, self.flags);
  }
  void count(StatisticsSlots& statistics) const {
    statistics.add(Counter::kWrites, 1);
    statistics.add(Counter::kWrittenBytes, range.length);
  }
};

struct BackendImpl::WriteZeroes {
  static constexpr Kind kKind = Kind::kWrite;
  ByteRange range;
  ZeroFlags flags;

  std::optional<Result<void>> now(GraphNode&) const noexcept { return std::nullopt; }
  Task<Result<void>> run(GraphNode& node) const {
    Task<Result<void>> work = request::write_zeroes(node, range, flags);
    return flags.outlives_process ? then_settle(node, std::move(work)) : std::move(work);
  }
  void count(StatisticsSlots& statistics) const {
    statistics.add(Counter::kZeroWrites, 1);
    statistics.add(Counter::kWrittenBytes, range.length);
  }
};

struct BackendImpl::Discard {
  static constexpr Kind kKind = Kind::kWrite;
  ByteRange range;

  std::optional<Result<void>> now(GraphNode&) const noexcept { return std::nullopt; }
  Task<Result<void>> run(GraphNode& node) const { return request::discard(node, range); }
  void count(StatisticsSlots& statistics) const {
    statistics.add(Counter::kDiscards, 1);
    statistics.add(Counter::kDiscardedBytes, range.length);
  }
};

struct BackendImpl::Flush {
  static constexpr Kind kKind = Kind::kWrite;

  std::optional<Result<void>> now(GraphNode&) const noexcept { return std::nullopt; }
  Task<Result<void>> run(GraphNode& node) const { return request::flush(node); }
  void count(StatisticsSlots& statistics) const { statistics.add(Counter::kFlushes, 1); }
};

namespace {

/// Of the image at `node`, without what is below it by a backing edge.
std::optional<uint64_t> allocated_below(const Node& node) {
  if (const auto own = node.driver().allocated_size()) return own;
  std::optional<uint64_t> sum;
  for (const Node::ChildLink& child : node.children()) {
    if (child.role == ChildRole::kBacking) continue;
    const std::optional<uint64_t> part = allocated_below(*child.node);
    if (!part) return std::nullopt;
    sum = sum.value_or(0) + *part;
  }
  return sum;
}

}  // namespace

Error BackendImpl::no_medium() const {
  return Error(ErrorCode::kNoMedium, "there is no medium in " + describe())
      .because("no-medium", {name_});
}

Result<void> BackendImpl::admit_range(const GraphNode& node, ByteRange range) const {
  const uint64_t size = node.size();
  if (!range.wraps() && range.end() <= size) return ok();
  return fail(
      Error(ErrorCode::kOutOfRange, fmt::format("{:#x} bytes at {:#x} reach past the end at {:#x}",
                                                range.length, range.offset, size))
          .because("request-range"));
}

Result<void> BackendImpl::admit_write(const GraphNode& node) const {
  if (node.read_only()) {
    return fail(Error(ErrorCode::kReadOnly, fmt::format("node \"{}\" is read-only", node.name()))
                    .because("node-read-only", {node.name()}));
  }
  if (root_.writable()) return ok();
  return fail(Error(ErrorCode::kReadOnly, "the user of this backend did not ask to write")
                  .because("backend-read-only"));
}

template <typename Operation>
Result<void> BackendImpl::admit(const GraphNode* node, const Operation& operation) const {
  if (node == nullptr) return fail(no_medium());
  if constexpr (requires { operation.range; }) {
    if (Result<void> inside = admit_range(*node, operation.range); !inside) return inside;
    if constexpr (Operation::kKind == Kind::kWrite) return admit_write(*node);
  }
  return ok();
}

template <typename Operation>
ThrottleMember::AdmitAwaiter BackendImpl::within_limits(ThrottleMember& member,
                                                        const Operation& operation) {
  const auto direction =
      Operation::kKind == Kind::kRead ? ThrottleDirection::kRead : ThrottleDirection::kWrite;
  return member.admit(direction, operation.range.length);
}

/// While drained, requests wait instead of failing.
Task<Result<Gate::Pass>> BackendImpl::enter_late() {
  if (gate_.waiting() >= kMaxWaiting) {
    co_return fail(Error(ErrorCode::kBusy, fmt::format("{} requests wait already", kMaxWaiting))
                       .because("queue-full", {std::to_string(kMaxWaiting)}));
  }
  co_return co_await gate_.enter();
}

template <typename Operation>
Task<Result<void>> BackendImpl::serve(Operation operation) {
  std::optional<Gate::Pass> held;  // of a request that failed before
  while (true) {
    std::optional<Gate::Pass> pass = gate_.try_enter();
    if (!pass) {
      Result<Gate::Pass> late = co_await enter_late();
      if (!late) co_return fail(late.error());
      pass = std::move(*late);
    }
    held.reset();
    // Stays the root while this request has its pass.
    GraphNode* node = medium_.load(std::memory_order_acquire);
    if (Result<void> admitted = admit(node, operation); !admitted) co_return admitted;
    if constexpr (requires { operation.range; }) {
      if (ThrottleMember* limits = throttle_.load(std::memory_order_acquire)) {
        ThrottleMember::AdmitAwaiter allowed = within_limits(*limits, operation);
        co_await allowed;
        // The medium may be on its way out since.
        node = medium_.load(std::memory_order_acquire);
        if (Result<void> admitted = admit(node, operation); !admitted) co_return admitted;
      }
    }
    EpochDomain::Ticket ticket = graph_.requests().enter();
    std::optional<Result<void>> done = operation.now(*node);
    if (!done) done = co_await operation.run(*node);
    if (*done) {
      operation.count(statistics_);
      co_return ok();
    }
    statistics_.add(
        Operation::kKind == Kind::kRead ? Counter::kFailedReads : Counter::kFailedWrites, 1);
    // Out of the gate before it may be held: drains do not wait for it.
    held = errors_.enter();
    std::string node_name = node->name();
    ticket.leave();
    pass.reset();
    if (!held) co_return *done;
    const ErrorPolicies::Verdict verdict =
        co_await errors_.decide(Operation::kKind, std::move(node_name), done->error());
    if (verdict == ErrorPolicies::Verdict::kIgnore) co_return ok();
    if (verdict == ErrorPolicies::Verdict::kReport) co_return *done;
  }
}

Task<Result<void>> BackendImpl::read(ByteRange range, MutableBuffers into) {
  return serve(Read{range, into});
}

Task<Result<void>> BackendImpl::write(ByteRange range, ConstBuffers from, WriteFlags flags) {
  flags.fua = flags.fua || through();
  return serve(Write{range, from, flags, &head_writes_});
}

Task<Result<void>> BackendImpl::write_zeroes(ByteRange range, ZeroFlags flags) {
  flags.fua = flags.fua || through();
  return serve(WriteZeroes{range, flags});
}

Task<Result<void>> BackendImpl::discard(ByteRange range) { return serve(Discard{range}); }

Task<Result<void>> BackendImpl::flush() { return serve(Flush{}); }

Task<Result<Extent>> BackendImpl::status(ByteRange range, unsigned layers) {
  std::optional<Gate::Pass> pass = gate_.try_enter();
  if (!pass) {
    Result<Gate::Pass> late = co_await enter_late();
    if (!late) co_return fail(late.error());
    pass = std::move(*late);
  }
  GraphNode* node = medium_.load(std::memory_order_acquire);
  if (node == nullptr) co_return fail(no_medium());
  if (Result<void> inside = admit_range(*node, range); !inside) co_return fail(inside.error());
  const EpochDomain::Ticket ticket = graph_.requests().enter();
  co_return co_await request::status(*node, range, layers);
}

Result<uint64_t> BackendImpl::size() const {
  std::lock_guard lock(shown_);
  GraphNode* node = medium_.load();
  if (node == nullptr) return fail(no_medium());
  return node->size();
}

std::optional<uint64_t> BackendImpl::allocated_size() const {
  std::lock_guard lock(shown_);
  const Node* node = medium_.load();
  if (node == nullptr) return std::nullopt;
  return allocated_below(*node);
}

bool BackendImpl::writable() const {
  std::lock_guard lock(shown_);
  GraphNode* node = medium_.load();
  return node != nullptr && !node->read_only() && root_.writable();
}

}  // namespace ashlar
