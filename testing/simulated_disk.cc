// The simulated disk: requests, the log, and what a power cut leaves.
#include "testing/simulated_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "testing/seeded_random.h"

namespace ashlar {
namespace {

constexpr const char* kKindNames[kDiskRequestKinds] = {"read",    "write", "zero",
                                                       "discard", "flush", "resize"};

const char* name_of(DiskRequest kind) { return kKindNames[static_cast<size_t>(kind)]; }

}  // namespace

std::string PowerCut::describe() const {
  const std::string where = fmt::format("power cut after event {}", point);
  switch (rule) {
    case Rule::kNoneSurvives:
      return where + ", nothing unsettled survives";
    case Rule::kAllSurvive:
      return where + ", all that is unsettled survives";
    case Rule::kAllButOne:
      return fmt::format("{}, all but unsettled request {} survive", where, value);
    case Rule::kOnlyOne:
      return fmt::format("{}, only unsettled request {} survives", where, value);
    case Rule::kSeeded:
      return fmt::format("{}, survivors by seed {:#x}", where, value);
  }
  std::unreachable();
}

bool SimulatedDisk::changes_content(DiskRequest kind) {
  return kind != DiskRequest::kRead && kind != DiskRequest::kFlush;
}

const SimulatedDisk::Fault* SimulatedDisk::next_fault(DiskRequest kind) {
  ++counts_[static_cast<size_t>(kind)];
  const Fault* due = nullptr;
  for (Fault& fault : faults_) {
    if (fault.kind != kind) continue;
    if (fault.after == 0) {
      due = &fault;
    } else {
      --fault.after;
    }
  }
  return due;
}

SimulatedDisk::RequestId SimulatedDisk::begin(Request request) {
  request.began_at = events_.size();
  request.finished_at = kNever;
  requests_.push_back(std::move(request));
  events_.push_back({requests_.size() - 1, Event::What::kBegan});
  return requests_.size() - 1;
}

SimulatedDisk::RequestId SimulatedDisk::begin_write(ByteRange range, ConstBuffers from,
                                                    Durable durable) {
  assert(from.size() == range.length);
  std::vector<std::byte> data(range.length);
  from.copy_to(data);
  return begin({DiskRequest::kWrite, durable, range, std::move(data)});
}

SimulatedDisk::RequestId SimulatedDisk::begin_zero(ByteRange range, Durable durable) {
  return begin({DiskRequest::kZero, durable, range, {}});
}

SimulatedDisk::RequestId SimulatedDisk::begin_discard(ByteRange range) {
  return begin({DiskRequest::kDiscard, Durable::kAfterFlush, range, {}});
}

SimulatedDisk::RequestId SimulatedDisk::begin_flush() {
  return begin({DiskRequest::kFlush, Durable::kAfterFlush, {}, {}});
}

SimulatedDisk::RequestId SimulatedDisk::begin_resize(uint64_t size) {
  return begin({DiskRequest::kResize, Durable::kAfterFlush, {size, 0}, {}});
}

Result<void> SimulatedDisk::finish(RequestId id) {
  Request& request = requests_[id];
  assert(request.outcome == Request::Outcome::kPending);
  request.finished_at = events_.size();
  events_.push_back({id, Event::What::kFinished});
  request.outcome = Request::Outcome::kDone;
  Result<void> result = ok();
  if (const Fault* fault = next_fault(request.kind)) {
    request.outcome = Request::Outcome::kFailed;
    result = ashlar::fail(Error::from_errno(
        fault->os_error, fmt::format("simulated {} {:#x}+{:#x}", name_of(request.kind),
                                     request.range.offset, request.range.length)));
    if (fault->effect == Fault::Effect::kFirstHalf && request.kind != DiskRequest::kResize) {
      request.range.length = align_down(request.range.length / 2, kUnit);
      if (request.kind == DiskRequest::kWrite) request.data.resize(request.range.length);
      request.outcome = Request::Outcome::kDone;
    }
    if (fault->repeat == Fault::Repeat::kOnce)
      faults_.erase(faults_.begin() + (fault - &faults_[0]));
  }
  if (request.outcome == Request::Outcome::kFailed) return result;
  if (changes_content(request.kind)) {
    apply(request, current_);
    changes_.push_back(id);
  } else if (result) {
    flushes_.push_back(id);
  }
  return result;
}

Result<void> SimulatedDisk::read(ByteRange range, MutableBuffers into) {
  assert(into.size() == range.length);
  if (const Fault* fault = next_fault(DiskRequest::kRead)) {
    const Error error = Error::from_errno(
        fault->os_error, fmt::format("simulated read {:#x}+{:#x}", range.offset, range.length));
    if (fault->repeat == Fault::Repeat::kOnce)
      faults_.erase(faults_.begin() + (fault - &faults_[0]));
    return ashlar::fail(error);
  }
  if (range.wraps() || range.end() > size()) {
    return ashlar::fail(ErrorCode::kOutOfRange,
                        fmt::format("read {:#x}+{:#x} of a simulated disk of {:#x} bytes",
                                    range.offset, range.length, size()));
  }
  uint64_t offset = range.offset;
  into.for_each([&](std::span<std::byte> part) {
    current_.read(offset, part);
    offset += part.size();
  });
  return ok();
}

Result<void> SimulatedDisk::write(ByteRange range, ConstBuffers from) {
  return finish(begin_write(range, from));
}
Result<void> SimulatedDisk::flush() { return finish(begin_flush()); }
Result<void> SimulatedDisk::discard(ByteRange range) { return finish(begin_discard(range)); }
Result<void> SimulatedDisk::write_zeroes(ByteRange range) { return finish(begin_zero(range)); }
Result<void> SimulatedDisk::resize(uint64_t size) { return finish(begin_resize(size)); }

void SimulatedDisk::apply(const Request& request, SparseBytes& to) {
  switch (request.kind) {
    case DiskRequest::kWrite:
      to.write(request.range.offset, request.data);
      return;
    case DiskRequest::kZero:
      to.zero(request.range);
      return;
    case DiskRequest::kDiscard: {
      // A discard makes nothing larger.
      const uint64_t end = std::min(request.range.end(), to.size());
      if (end > request.range.offset) to.zero({request.range.offset, end - request.range.offset});
      return;
    }
    case DiskRequest::kResize:
      to.resize(request.range.offset);
      return;
    case DiskRequest::kRead:
    case DiskRequest::kFlush:
      return;
  }
}

void SimulatedDisk::apply_torn(const Request& request, uint64_t seed, SparseBytes& to) {
  SeededRandom random(seed);
  const uint64_t fate = random.below(4);
  if (fate == 0) return;
  // Zeroing and discarding are one command of any length; only their ends are torn off.
  if (fate <= 2 || request.kind == DiskRequest::kResize) return apply(request, to);
  if (request.kind != DiskRequest::kWrite) {
    Request part = request;
    const uint64_t units = request.range.length / kUnit;
    part.range = request.range.first(random.below(units + 1) * kUnit);
    return apply(part, to);
  }
  std::span<const std::byte> left(request.data);
  uint64_t offset = request.range.offset;
  while (!left.empty()) {
    const size_t count = std::min<size_t>(left.size(), kUnit - offset % kUnit);
    if (random.one_in(2)) to.write(offset, left.first(count));
    left = left.subspan(count);
    offset += count;
  }
}

/// How many of changes_ are durable for sure, counting only those that nothing unsettled precedes.
size_t SimulatedDisk::durable_prefix(size_t point) const {
  size_t flushed_before = 0;  // events before this one have been flushed
  for (RequestId id : flushes_) {
    const Request& flush = requests_[id];
    if (flush.finished_at < point) flushed_before = std::max(flushed_before, flush.began_at);
  }
  const auto first_not_flushed = std::partition_point(
      changes_.begin(), changes_.end(),
      [&](RequestId id) { return requests_[id].finished_at < flushed_before; });
  return static_cast<size_t>(first_not_flushed - changes_.begin());
}

/// What may or may not be on the disk, in the order in which it would take effect. Requests that
/// are durable by themselves are in the list too: their order among the others counts.
std::vector<SimulatedDisk::RequestId> SimulatedDisk::undecided(size_t point) const {
  std::vector<RequestId> list;
  for (size_t at = durable_prefix(point); at < changes_.size(); ++at) {
    if (requests_[changes_[at]].finished_at < point) list.push_back(changes_[at]);
  }
  // In flight at that point. One that failed later may have reached the disk before it did.
  for (size_t event = 0; event < std::min(point, events_.size()); ++event) {
    const RequestId id = events_[event].request;
    const Request& request = requests_[id];
    const bool in_flight = request.finished_at >= point || request.finished_at == kNever;
    if (events_[event].what == Event::What::kBegan && in_flight && changes_content(request.kind)) {
      list.push_back(id);
    }
  }
  return list;
}

size_t SimulatedDisk::unsettled(size_t point) const {
  return count_unsettled(point, undecided(point));
}

size_t SimulatedDisk::count_unsettled(size_t point, const std::vector<RequestId>& list) const {
  size_t count = 0;
  for (RequestId id : list) {
    const Request& request = requests_[id];
    if (request.durable == Durable::kAfterFlush || request.finished_at >= point) ++count;
  }
  return count;
}

const SparseBytes& SimulatedDisk::base_for(size_t prefix) const {
  if (!base_ || base_->prefix > prefix) base_ = Base{0, durable_};
  for (; base_->prefix < prefix; ++base_->prefix) {
    apply(requests_[changes_[base_->prefix]], base_->content);
  }
  return base_->content;
}

SparseBytes SimulatedDisk::after(const PowerCut& cut, const std::vector<RequestId>& list) const {
  SparseBytes content = base_for(durable_prefix(cut.point));
  size_t index = 0;
  for (RequestId id : list) {
    const Request& request = requests_[id];
    if (request.durable == Durable::kWhenFinished && request.finished_at < cut.point) {
      apply(request, content);
      continue;
    }
    const bool is_the_one = index == cut.value;
    switch (cut.rule) {
      case PowerCut::Rule::kNoneSurvives:
        break;
      case PowerCut::Rule::kAllSurvive:
        apply(request, content);
        break;
      case PowerCut::Rule::kAllButOne:
        if (!is_the_one) apply(request, content);
        break;
      case PowerCut::Rule::kOnlyOne:
        if (is_the_one) apply(request, content);
        break;
      case PowerCut::Rule::kSeeded:
        apply_torn(request, cut.value * 0x10001 + index, content);
        break;
    }
    ++index;
  }
  return content;
}

std::string SimulatedDisk::describe_event(size_t point) const {
  if (point == 0 || point > events_.size()) return "start";
  const Event& event = events_[point - 1];
  const Request& request = requests_[event.request];
  const bool began = event.what == Event::What::kBegan;
  return fmt::format("{} {} {:#x}+{:#x}", began ? "began" : "finished", name_of(request.kind),
                     request.range.offset, request.range.length);
}

}  // namespace ashlar
