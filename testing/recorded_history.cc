// Recorded histories: carrying out, and looking at power cuts.
#include "testing/recorded_history.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "async/on_loop.h"

namespace ashlar {

using Kind = BlockOperation::Kind;
using Outcome = FlatModel::Outcome;

namespace {

std::vector<std::byte> content_of(const SimulatedImage& image) {
  const Qcow2Audit audit = image.audit();
  std::vector<std::byte> content(audit.size());
  audit.read(0, content, image.beside());
  return content;
}

Outcome outcome_of(const Result<void>& result) {
  return result ? Outcome::kSucceeded : Outcome::kFailed;
}

}  // namespace

uint64_t RecordedHistory::Plan::largest_size() const {
  uint64_t largest = shape.size;
  for (const BlockOperation& operation : operations) {
    if (operation.kind == Kind::kResize) largest = std::max(largest, operation.range.offset);
  }
  return largest;
}

std::string RecordedHistory::Plan::describe() const {
  std::vector<std::string> names;
  names.reserve(operations.size());
  for (const BlockOperation& operation : operations) names.push_back(operation.describe());
  return fmt::format("{}; {} loops, {} in flight, seed {:#x}, \"{}\": {}", shape.describe(),
                     setup.loops, depth, setup.seed, setup.format_options, fmt::join(names, ", "));
}

RecordedHistory::RecordedHistory(Plan plan)
    : plan_(std::move(plan)),
      image_(plan_.setup, plan_.files),
      content_(content_of(image_)),
      old_leaks_(image_.audit().leaks()),
      model_(fresh_model()),
      free_(plan_.depth),
      spans_(plan_.operations.size()) {}

HistoryModel RecordedHistory::fresh_model() const {
  return HistoryModel(plan_.shape, content_, plan_.largest_size());
}

void RecordedHistory::wrong(std::string what) {
  if (failure_.empty()) failure_ = std::move(what);
}

bool RecordedHistory::any_error() const {
  return !closed_ || std::ranges::any_of(spans_, [](const Span& span) { return !span.result; });
}

std::string RecordedHistory::run() { return finish(nullptr); }

std::string RecordedHistory::run_with(const SimulatedDisk::Fault& fault) { return finish(&fault); }

std::string RecordedHistory::finish(const SimulatedDisk::Fault* fault) {
  try {
    sync_wait(image_.runtime(), everything(fault));
  } catch (const SimulationStuck& stuck) {
    wrong(stuck.what());
  }
  for (size_t i = 0; i < spans_.size() && fault == nullptr; ++i) {
    if (spans_[i].result) continue;
    wrong(plan_.operations[i].describe() + ": " + spans_[i].result.error().message());
  }
  if (!closed_) wrong("close: " + closed_.error().message());
  // What is only read to give space back may fail: then the space stays.
  const bool must_tell = fault_met_ && fault->kind != DiskRequest::kRead;
  if (must_tell && !any_error()) wrong("nobody was told of the fault");
  if (failure_.empty()) check_closed();
  return failure_.empty() ? "" : failure_ + "\n  " + plan_.describe();
}

Task<void> RecordedHistory::everything(const SimulatedDisk::Fault* fault) {
  const Result<void> opened = co_await image_.open();
  if (!opened) co_return wrong("open: " + opened.error().message());
  if (fault != nullptr) image_.disk().fail(*fault);
  const uint64_t before = fault != nullptr ? image_.disk().count(fault->kind) : 0;
  for (size_t i = 0; i < spans_.size(); ++i) {
    const bool alone = plan_.operations[i].kind == Kind::kResize;
    if (alone) co_await scope_.join();
    co_await free_.acquire();
    scope_.spawn(carry_out(i));
    if (alone) co_await scope_.join();
  }
  co_await scope_.join();
  if (fault != nullptr) fault_met_ = image_.disk().count(fault->kind) - before > fault->after;
  image_.disk().heal();
  co_await read_all();
  close_began_ = image_.disk().events();
  const BlockOperation flush{Kind::kFlush, {}, 0};
  const HistoryModel::Id id = model_.begin(flush);
  closed_ = co_await image_.close();
  model_.finish(id, outcome_of(closed_));
}

Task<void> RecordedHistory::carry_out(size_t index) {
  const BlockOperation operation = plan_.operations[index];
  Span& span = spans_[index];
  span.began = image_.disk().events();
  const HistoryModel::Id id = model_.begin(operation);
  std::vector<std::byte> memory(operation.kind == Kind::kRead ? operation.range.length : 0);
  Loop& loop = image_.runtime().loop(static_cast<unsigned>(index % plan_.setup.loops));
  OnLoop<Result<void>> there(loop, perform(image_.backend(), operation, memory));
  span.result = co_await there;
  span.finished = image_.disk().events();
  model_.finish(id, outcome_of(span.result));
  if (operation.kind == Kind::kRead && span.result) check_read(index, memory);
  if (operation.kind == Kind::kResize && !span.result) model_.set_size(*image_.backend().size());
  free_.release();
}

/// Writes may have been in flight meanwhile: each unit is as at the start, zero, or as some request
/// has written it. What clusters held that are nobody's any more is none of these.
void RecordedHistory::check_read(size_t index, std::span<const std::byte> read) {
  constexpr uint64_t kUnit = FlatModel::kUnit;
  const ByteRange range = plan_.operations[index].range;
  std::vector<bool> known(read.size() / kUnit);
  const auto compare = [&](ByteRange where, std::span<const std::byte> bytes) {
    for (uint64_t i = 0; i < known.size(); ++i) {
      const ByteRange unit{range.offset + i * kUnit, kUnit};
      if (!where.contains(unit)) continue;
      const auto there = bytes.subspan(unit.offset - where.offset, kUnit);
      if (std::ranges::equal(there, read.subspan(i * kUnit, kUnit))) known[i] = true;
    }
  };
  compare({0, content_.size()}, content_);
  compare(range, std::vector<std::byte>(read.size()));
  for (const BlockOperation& operation : plan_.operations) {
    if (operation.writes_bytes()) compare(operation.range, operation.bytes());
  }
  const auto wrong_one = std::ranges::find(known, false);
  if (wrong_one == known.end()) return;
  wrong(fmt::format("{} gave what nobody wrote at unit {}", plan_.operations[index].describe(),
                    wrong_one - known.begin()));
}

Task<void> RecordedHistory::read_all() {
  std::vector<std::byte> content(*image_.backend().size());
  const ByteRange all{0, content.size()};
  if (all.length != model_.size()) wrong(fmt::format("has {:#x} bytes", all.length));
  const MutableBuffers into(content);
  const Result<void> read = co_await image_.backend().read(all, into);
  if (!read) co_return wrong("read: " + read.error().message());
  if (const auto where = model_.mismatch(content)) {
    wrong(fmt::format("what is read differs at {:#x}", *where));
  }
}

/// After faults there may be leaks, and after a failed close all that a power cut may do.
void RecordedHistory::check_closed() {
  const Qcow2Audit audit = image_.audit();
  const bool clean = !any_error();
  if (!audit.corruptions().empty() || (clean && audit.leaks() > old_leaks_)) {
    return wrong("audit: " + audit.describe());
  }
  std::vector<std::byte> content(audit.size());
  audit.read(0, content, image_.beside());
  const auto where = closed_ ? model_.mismatch(content) : model_.mismatch_after_power_cut(content);
  if (where) wrong(fmt::format("the closed image differs at {:#x}", *where));
}

/// Lets `model` know what had begun and finished when the log had `point` events.
void RecordedHistory::note_in_model(HistoryModel& model, size_t point) {
  // Those that finish before another one begins come first, as in life.
  for (size_t next = begun_; next <= ids_.size(); ++next) {
    const size_t until = next < ids_.size() ? spans_[next].began : ~size_t{0};
    for (size_t i = 0; i < begun_; ++i) {
      if (ended_[i] || spans_[i].finished > std::min(point, until)) continue;
      model.finish(ids_[i], outcome_of(spans_[i].result));
      ended_[i] = true;
    }
    if (next == ids_.size() || spans_[next].began > point) break;
    ids_[next] = model.begin(plan_.operations[next]);
    begun_ = next + 1;
  }
}

std::string RecordedHistory::look_at(const SparseBytes& left, const HistoryModel& model) {
  const Qcow2Audit audit(left);
  if (!audit.corruptions().empty()) return "audit: " + audit.describe();
  if (!model.may_survive_with(audit.size())) return fmt::format("has {:#x} bytes", audit.size());
  std::vector<std::byte> content(audit.size());
  audit.read(0, content, image_.beside());
  const auto where = model.mismatch_after_power_cut(content);
  return where ? fmt::format("differs at {:#x}", *where) : "";
}

/// Opens what is left, makes it larger and writes to it: what it held stays, the rest is zero.
std::string RecordedHistory::use(const SparseBytes& left) const {
  const Qcow2Audit before(left);
  Plan next{.shape = plan_.shape, .files = plan_.files, .operations = {}};
  next.files.image = left;
  next.setup = plan_.setup;
  next.shape.size = before.size();
  const uint64_t cluster = plan_.shape.cluster_size();
  const bool may_resize = next.shape.version >= 3 || !before.has_snapshot();
  if (may_resize) next.operations.push_back({Kind::kResize, {before.size() + 6 * cluster, 0}});
  next.operations.push_back({Kind::kWrite, {0, std::min(cluster, before.size())}, cuts_});
  next.operations.push_back({Kind::kFlush});
  RecordedHistory again(std::move(next));
  const std::string failure = again.run();
  return failure.empty() ? "" : "used afterwards: " + failure;
}

std::string RecordedHistory::check_power_cuts(unsigned seeds) {
  HistoryModel model = fresh_model();
  ids_.assign(spans_.size(), 0);
  ended_.assign(spans_.size(), false);
  begun_ = 0;
  std::string failure;
  const auto look = [&](const PowerCut& cut, const SparseBytes& left) {
    if (!failure.empty()) return;
    ++cuts_;
    note_in_model(model, cut.point);
    failure = look_at(left, model);
    if (failure.empty() && cuts_ % use_every_ == 0) failure = use(left);
    if (failure.empty()) return;
    failure = fmt::format("{} ({}): {}\n  {}", cut.describe(),
                          image_.disk().describe_event(cut.point), failure, plan_.describe());
  };
  image_.disk().for_each_power_cut(seeds, plan_.setup.seed, look);
  return failure;
}

}  // namespace ashlar
