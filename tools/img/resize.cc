// img resize: makes an image larger or smaller.
#include <fmt/format.h>

#include <array>
#include <string>

#include "tools/common/image_arguments.h"
#include "tools/common/peer_text.h"
#include "tools/common/size_text.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

constexpr OptionRow kPreallocationRow{.name = "preallocation",
                                      .value = "MODE",
                                      .help = "of added room: off, metadata, falloc or full"};
constexpr OptionRow kShrinkRow{.name = "shrink",
                               .help = "allow to make it smaller: what is cut off is lost"};
constexpr OptionRow kOptions[] = {kFormatRow, kImageOptsRow, kPreallocationRow, kShrinkRow,
                                  kQuietRow,  kObjectRow,    kUntrustedRow};

struct SizeChange {
  enum class Kind : uint8_t { kTo, kBy, kLessBy } kind = Kind::kTo;
  uint64_t amount = 0;
};

std::optional<SizeChange> size_change(const Program& program, std::string_view text) {
  SizeChange change;
  if (text.starts_with('+')) change.kind = SizeChange::Kind::kBy;
  if (text.starts_with('-')) change.kind = SizeChange::Kind::kLessBy;
  if (change.kind != SizeChange::Kind::kTo) text.remove_prefix(1);
  const Result<uint64_t> amount = parse_size(text);
  if (!amount) {
    const std::string names[] = {"size"};
    program.error(peer_words("option-size", names).value_or(amount.error().message()));
    return std::nullopt;
  }
  change.amount = *amount;
  return change;
}

/// The size to go to; 0 when it would not be positive or too large.
uint64_t target_size(uint64_t current, SizeChange change) {
  switch (change.kind) {
    case SizeChange::Kind::kTo:
      return change.amount <= kMaxDeviceSize ? change.amount : 0;
    case SizeChange::Kind::kBy:
      return change.amount <= kMaxDeviceSize - current ? current + change.amount : 0;
    case SizeChange::Kind::kLessBy:
      return change.amount < current ? current - change.amount : 0;
  }
  return 0;
}

std::optional<Preallocation> preallocation_of(const Program& program, const Arguments& arguments) {
  using enum Preallocation;
  static constexpr std::array<std::pair<std::string_view, Preallocation>, 4> kModes{
      {{"off", kOff}, {"metadata", kMetadata}, {"falloc", kFalloc}, {"full", kFull}}};
  const std::string_view text = arguments.value(kPreallocationRow.name).value_or("off");
  for (const auto& [name, mode] : kModes) {
    if (name == text) return mode;
  }
  program.error(fmt::format("Invalid preallocation mode '{}'", text));
  return std::nullopt;
}

/// Complains about what may not be done.
bool allowed(const Program& program, const Arguments& arguments, uint64_t current,
             uint64_t target) {
  if (target == 0) {
    program.error("New image size must be positive");
    return false;
  }
  const bool preallocates = arguments.value(kPreallocationRow.name).value_or("off") != "off";
  if (target <= current && preallocates) {
    program.error("Preallocation can only be used for growing images");
    return false;
  }
  if (target < current && !arguments.has(kShrinkRow.name)) {
    program.error("Use the --shrink option to perform a shrink operation.");
    program.warning(
        "Shrinking an image will delete all data beyond the shrunken image's end. Before "
        "performing such an operation, make sure there is no important data there.");
    return false;
  }
  return true;
}

/// A longer backing image must not show behind the old end. Where that takes as many stored zeroes
/// as it has data there, existing tools refuse, and so do we: nobody expects a disk to fill up.
bool can_hide_backing(const Node& node, uint64_t target, Preallocation preallocation) {
  const bool reserves =
      preallocation == Preallocation::kFalloc || preallocation == Preallocation::kFull;
  const bool stores = node.driver().info().zeroes != NodeInfo::Zeroes::kNative && !reserves;
  return !stores || node.backing() == nullptr || target <= node.size() ||
         node.backing()->size() <= node.size();
}

Task<Result<void>> resize_task(Backend& backend, uint64_t size, ResizeFlags flags) {
  co_return co_await backend.resize(size, flags);
}

int run(Program& program, const Arguments& arguments) {
  if (!check_operands(program, arguments, {2, 2}, "Expecting image file name and size")) {
    return kFailure;
  }
  const auto change = size_change(program, arguments.operands()[1]);
  const auto preallocation = change ? preallocation_of(program, arguments) : std::nullopt;
  if (!preallocation) return kFailure;
  auto request = image_request(program, arguments, arguments.operands()[0]);
  if (!request) return kFailure;
  request->flags.read_only = false;
  const StartedSession started = start_session(program, arguments);
  if (!started.session) return started.status;
  BackendRef backend =
      open_backend(*started.session, *request,
                   Permission::kConsistentRead | Permission::kWrite | Permission::kResize);
  if (!backend) return kFailure;
  const uint64_t current = backend->size().value_or(0);
  const uint64_t target = target_size(current, *change);
  if (!allowed(program, arguments, current, target)) return kFailure;
  const Node* node = backend->root();
  if (node != nullptr && !can_hide_backing(*node, target, *preallocation)) {
    program.error("Failed to zero out new clusters: Operation not supported");
    return kFailure;
  }
  ResizeFlags flags;
  flags.preallocation = *preallocation;
  Result<void> done = started.session->wait(resize_task(*backend, target, flags));
  backend = {};
  if (done) done = started.session->close();
  if (!done) {
    program.error(peer_text(done.error()));
    return kFailure;
  }
  if (!arguments.has(kQuietRow.name)) program.out().write("Image resized.\n");
  return kSuccess;
}

}  // namespace

constinit const Command kResizeCommand{.name = "resize",
                                       .operands = "FILE [+|-]SIZE",
                                       .summary = "make an image larger or smaller",
                                       .options = kOptions,
                                       .run = run,
                                       .last_word = Command::LastWord::kMayBeNegative};

}  // namespace ashlar::tools
