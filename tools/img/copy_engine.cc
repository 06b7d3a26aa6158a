// Workers that read, scan for zeroes and write.
#include "tools/img/copy_engine.h"

#include <cstring>

#include "async/on_loop.h"
#include "async/sync.h"
#include "tools/common/aligned_buffer.h"
#include "tools/img/zero_runs.h"

namespace ashlar::tools {

CopyEngine::CopyEngine(Ends ends, CopyPlan& plan, const CopySettings& settings)
    : source_(ends.source),
      target_(ends.target),
      plan_(plan),
      settings_(settings),
      rate_(settings.bytes_per_second) {}

Task<void> CopyEngine::run() {
  Runtime& runtime = Loop::current().runtime();
  const unsigned io_loops = runtime.loop_count() - 1;
  const unsigned loops = std::max(io_loops, 1u);
  Scope all;
  for (unsigned at = 0; at < loops; ++at) {
    const unsigned share = settings_.workers / loops + (at < settings_.workers % loops ? 1 : 0);
    Loop& loop = runtime.loop(io_loops == 0 ? 0 : at + 1);
    if (share != 0) all.spawn(run_on(loop, share));
  }
  co_await all.join();
  if (plan_.error()) fail_at(CopyFailure::Step::kStatus, plan_.position(), *plan_.error());
}

Task<void> CopyEngine::run_on(Loop& loop, unsigned workers) {
  OnLoop<void> there(loop, run_here(workers));
  co_await there;
}

Task<void> CopyEngine::run_here(unsigned workers) {
  Scope all;
  for (unsigned at = 0; at < workers; ++at) all.spawn(work());
  co_await all.join();
}

Task<void> CopyEngine::work() {
  const std::optional<AlignedBuffer> buffer = AlignedBuffer::allocate(plan_.rules().piece);
  if (!buffer) {
    fail_at(CopyFailure::Step::kRead, 0, Error(ErrorCode::kNoMemory, "no memory for a buffer"));
    co_return;
  }
  while (true) {
    const std::optional<CopyPiece> piece = co_await plan_.next();
    if (!piece) co_return;
    co_await copy(*piece, buffer->bytes());
  }
}

Task<void> CopyEngine::copy(const CopyPiece& piece, std::span<std::byte> buffer) {
  const ByteRange range = piece.range;
  const bool zero = piece.kind == CopyPiece::Kind::kZero;
  const std::span<std::byte> bytes = zero ? std::span<std::byte>() : buffer.first(range.length);
  bool to_write = true;
  if (!zero) {
    if (rate_.limited()) co_await rate_.take(range.length);
    if (offload_ != nullptr) to_write = !co_await offload_->copy(range);
    if (to_write) to_write = co_await read(range, bytes);
  }
  Task<void> step;
  if (zero) {
    step = zero_run(range);
  } else if (to_write) {
    step = write(range, bytes);
  }
  co_await in_turn(piece.turn, std::move(step));
}

/// Runs `step`, if there is one, in its turn: rooms that formats find depend on what has been
/// written before.
Task<void> CopyEngine::in_turn(uint64_t turn, Task<void> step) {
  using Order = CopySettings::Order;
  if (settings_.order == Order::kSourceStarts) {
    co_await turns_.wait_for(turn);
    Scope started;
    if (step.valid()) started.spawn(std::move(step));
    turns_.pass();
    co_await started.join();
    co_return;
  }
  Task<void> work =
      settings_.order == Order::kSource ? alone(turn, std::move(step)) : std::move(step);
  if (!work.valid()) co_return;
  if (settings_.order == Order::kAny && settings_.writers == NodeInfo::Writers::kMany) {
    co_await work;
    co_return;
  }
  // On one loop, while the others read: a turn, or the kernel's lock of a file, that goes from loop
  // to loop waits for each of them to get around to it.
  OnLoop<void> there(Loop::current().runtime().control_loop(), std::move(work));
  co_await there;
}

Task<void> CopyEngine::alone(uint64_t turn, Task<void> step) {
  co_await turns_.wait_for(turn);
  if (step.valid()) co_await step;
  turns_.pass();
}

Task<bool> CopyEngine::read(ByteRange range, std::span<std::byte> into) {
  const Result<void> done = co_await source_.read(range, into);
  if (done) co_return true;
  if (settings_.read_errors == CopySettings::ReadErrors::kFail) {
    fail_at(CopyFailure::Step::kRead, range.offset, done.error());
    co_return false;
  }
  co_await read_sectors(range, into);
  co_return true;
}

/// What cannot be read becomes zeroes, no more of it than must be.
Task<void> CopyEngine::read_sectors(ByteRange range, std::span<std::byte> into) {
  while (!range.empty()) {
    const ByteRange sector = range.first(CopySource::kSector);
    const Result<void> done = co_await source_.read(sector, into.first(sector.length));
    if (!done) {
      std::memset(into.data(), 0, sector.length);
      if (salvage_ != nullptr) salvage_->unreadable(sector.offset, done.error());
    }
    into = into.subspan(sector.length);
    range = range.after(sector.length);
  }
}

Task<void> CopyEngine::write(ByteRange range, std::span<const std::byte> bytes) {
  ZeroRuns runs(bytes, settings_.zero_block);
  while (const std::optional<ZeroRun> run = runs.next()) {
    const ByteRange part{range.offset + run->offset, run->length};
    if (run->zero) {
      if (plan_.rules().holes == CopyRules::Holes::kZeroed) co_await zero_run(part);
    } else {
      co_await write_run(part, ConstBuffers(bytes.subspan(run->offset, run->length)));
    }
  }
}

Task<void> CopyEngine::write_run(ByteRange range, ConstBuffers from) {
  WriteFlags flags;
  flags.compressed = settings_.store == CopySettings::Store::kCompressed;
  const Result<void> done = co_await target_.write(range, from, flags);
  if (!done) fail_at(CopyFailure::Step::kWrite, range.offset, done.error());
}

Task<void> CopyEngine::zero_run(ByteRange range) {
  ZeroFlags flags;
  flags.may_unmap = true;
  const Result<void> done = co_await target_.write_zeroes(range, flags);
  if (!done) fail_at(CopyFailure::Step::kWrite, range.offset, done.error());
}

void CopyEngine::fail_at(CopyFailure::Step step, uint64_t offset, const Error& error) {
  plan_.stop();
  const std::lock_guard lock(failure_lock_);
  if (!failure_) failure_ = CopyFailure{step, offset, error};
}

}  // namespace ashlar::tools
