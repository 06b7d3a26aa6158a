// Two queues of bytes behind one lock, and who waits for them.
#include "testing/memory_stream.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <mutex>

#include "async/sync.h"

namespace ashlar::testing {
namespace {

/// One direction. Guarded by Connection::guard.
struct Direction {
  MemoryStreamShape shape;
  std::deque<std::byte> bytes;
  uint64_t passed = 0;  // bytes that were ever written
  bool ended = false;   // nothing more will be written
  WaitList readers;     // at most one
  WaitList writers;
};

struct Connection {
  std::mutex guard;
  std::array<Direction, 2> directions;

  /// Under the guard: the end of everything. The chain is to be woken without it.
  Waiter* end_all(Waiter* chain = nullptr) {
    for (Direction& direction : directions) {
      direction.ended = true;
      for (WaitList* list : {&direction.readers, &direction.writers}) {
        while (Waiter* waiter = list->pop()) {
          waiter->next_waiter = chain;
          chain = waiter;
        }
      }
    }
    return chain;
  }
};

/// Waits in `list` unless `ready()` under the lock.
template <typename Ready>
class WaitUntil : Waiter {
 public:
  WaitUntil(std::mutex& guard, WaitList& list, Ready ready)
      : guard_(guard), list_(list), ready_(ready) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    prepare(self);
    std::lock_guard lock(guard_);
    if (ready_()) return false;
    list_.push(*this);
    return true;
  }
  void await_resume() const noexcept {}

 private:
  std::mutex& guard_;
  WaitList& list_;
  Ready ready_;
};

class MemoryStream final : public Stream {
 public:
  MemoryStream(std::shared_ptr<Connection> connection, size_t incoming)
      : connection_(std::move(connection)),
        in_(connection_->directions[incoming]),
        out_(connection_->directions[1 - incoming]) {}
  ~MemoryStream() override { end(); }

  Task<Result<size_t>> read_some(MutableBuffers into) override {
    auto readable = [this] { return !in_.bytes.empty() || in_.ended || shut_; };
    WaitUntil<decltype(readable)> wait(connection_->guard, in_.readers, readable);
    co_await wait;
    if (shut_) co_return fail(closed());
    Waiter* woken = nullptr;
    const size_t count = take(into, woken);
    Waiter::wake_all(woken);
    co_return count;
  }

  Task<Result<void>> write_all(ConstBuffers from) override {
    auto writable = [this] {
      return out_.bytes.size() < out_.shape.capacity || out_.ended || shut_;
    };
    while (!from.empty()) {
      WaitUntil<decltype(writable)> wait(connection_->guard, out_.writers, writable);
      co_await wait;
      if (shut_) co_return fail(closed());
      Waiter* woken = nullptr;
      const size_t count = put(from, woken);
      Waiter::wake_all(woken);
      if (count == 0) co_return fail(Error::from_errno(EPIPE, "write to \"memory\""));
      from.remove_front(count);
    }
    co_return ok();
  }

  void shut_down() noexcept override {
    shut_ = true;
    end();
  }
  std::string peer() const override { return "memory"; }

 private:
  static Error closed() {
    return Error(ErrorCode::kClosed, "connection to \"memory\" was shut down");
  }
  void end() noexcept {
    Waiter* woken = nullptr;
    {
      std::lock_guard lock(connection_->guard);
      woken = connection_->end_all();
    }
    Waiter::wake_all(woken);
  }
  size_t portion(size_t most) const {
    if (most == 0 || in_.shape.reads == MemoryStreamShape::Reads::kWhole) return most;
    if (in_.shape.reads == MemoryStreamShape::Reads::kBytewise) return 1;
    return 1 + static_cast<size_t>(Loop::current().random() % most);
  }
  size_t take(MutableBuffers into, Waiter*& woken) {
    std::lock_guard lock(connection_->guard);
    const size_t count = portion(std::min(into.size(), in_.bytes.size()));
    auto from = in_.bytes.begin();
    into.slice(0, count).for_each([&from](std::span<std::byte> part) {
      const auto size = static_cast<std::ptrdiff_t>(part.size());
      std::copy_n(from, size, part.begin());
      from += size;
    });
    in_.bytes.erase(in_.bytes.begin(), from);
    woken = in_.writers.take_all();
    return count;
  }
  /// What fits; 0: the connection is gone.
  size_t put(ConstBuffers from, Waiter*& woken) {
    std::lock_guard lock(connection_->guard);
    if (out_.ended) return 0;
    size_t count = std::min(from.size(), out_.shape.capacity - out_.bytes.size());
    const uint64_t left = out_.shape.cut_after ? *out_.shape.cut_after - out_.passed : UINT64_MAX;
    const bool cut = count >= left;
    count = static_cast<size_t>(std::min<uint64_t>(count, left));
    from.slice(0, count).for_each([this](std::span<const std::byte> part) {
      out_.bytes.insert(out_.bytes.end(), part.begin(), part.end());
    });
    out_.passed += count;
    woken = cut ? connection_->end_all() : out_.readers.take_all();
    return count;
  }

  const std::shared_ptr<Connection> connection_;
  Direction& in_;
  Direction& out_;
  bool shut_ = false;
};

}  // namespace

std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> memory_stream_pair(
    MemoryStreamShape first_to_second, MemoryStreamShape second_to_first) {
  auto connection = std::make_shared<Connection>();
  connection->directions[0].shape = first_to_second;
  connection->directions[1].shape = second_to_first;
  if (first_to_second.cut_after == 0U || second_to_first.cut_after == 0U) connection->end_all();
  return {std::make_unique<MemoryStream>(connection, 1),
          std::make_unique<MemoryStream>(connection, 0)};
}

}  // namespace ashlar::testing
