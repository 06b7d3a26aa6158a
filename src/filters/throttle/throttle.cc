// Throttle filter: passes everything on, reads and writes as fast as a throttle group allows.
#include "filters/throttle/throttle.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <memory>

#include "ashlar/throttle.h"
#include "backend/throttle_group.h"

namespace ashlar {
namespace {

struct ThrottleOptions {
  std::optional<std::string> group;
  static constexpr auto table() {
    return std::array{
        option("throttle-group", &ThrottleOptions::group, "id of the throttle-group object"),
    };
  }
};

/// How often limits are off: outlives the filter for as long as somebody keeps them off.
using LiftCount = std::shared_ptr<std::atomic<unsigned>>;

class Lifted final : public LiftedLimits {
 public:
  explicit Lifted(LiftCount count) : count_(std::move(count)) { count_->fetch_add(1); }
  Lifted(const Lifted&) = delete;
  ~Lifted() override { count_->fetch_sub(1); }

 private:
  const LiftCount count_;
};

class ThrottleFilter final : public Driver {
 public:
  ThrottleFilter(Child& file, const ThrottleGroupStore& groups,
                 std::shared_ptr<ThrottleGroup> group)
      : file_(file), groups_(groups) {
    member_ = join(std::move(group));
  }

  static Result<std::shared_ptr<ThrottleGroup>> find_group(const ThrottleGroupStore& groups,
                                                           const ThrottleOptions& options);

  NodeInfo info() const override {
    NodeInfo info = file_.info();
    info.request_alignment = 1;  // what is below aligns for itself
    info.memory_alignment = 1;
    info.max_transfer = 0;
    info.fua = NodeInfo::Fua::kNative;
    info.zeroes = NodeInfo::Zeroes::kNative;
    return info;
  }
  Task<Result<void>> read(ByteRange range, MutableBuffers into) override {
    ThrottleMember::AdmitAwaiter allowed = member_->admit(ThrottleDirection::kRead, range.length);
    co_await allowed;
    co_return co_await file_.read(range, into);
  }
  Task<Result<void>> write(ByteRange range, ConstBuffers from, WriteFlags flags) override {
    ThrottleMember::AdmitAwaiter allowed = member_->admit(ThrottleDirection::kWrite, range.length);
    co_await allowed;
    co_return co_await file_.write(range, from, flags);
  }
  Task<Result<void>> write_zeroes(ByteRange range, ZeroFlags flags) override {
    ThrottleMember::AdmitAwaiter allowed = member_->admit(ThrottleDirection::kWrite, range.length);
    co_await allowed;
    co_return co_await file_.write_zeroes(range, flags);
  }
  Task<Result<void>> discard(ByteRange range) override {
    ThrottleMember::AdmitAwaiter allowed = member_->admit(ThrottleDirection::kWrite, range.length);
    co_await allowed;
    co_return co_await file_.discard(range);
  }
  Task<Result<void>> reserve(ByteRange range) override { return file_.reserve(range); }
  Task<Result<void>> flush() override { return file_.flush(); }
  Task<Result<void>> resize(uint64_t size, ResizeFlags flags) override {
    return file_.resize(size, flags);
  }
  Task<Result<Extent>> status(ByteRange range) override { return file_.status(range); }

  std::unique_ptr<LiftedLimits> lift_limits() override {
    auto lifted = std::make_unique<Lifted>(lifts_);
    member_->release();
    return lifted;
  }
  OptionDict naming_options() const override {
    OptionDict naming;
    naming.set("throttle-group", member_->group()->name());
    return naming;
  }
  Task<Result<std::unique_ptr<PreparedReopen>>> prepare_reopen(OptionDict& options,
                                                               const OpenFlags&) override;

 private:
  class Reopening final : public PreparedReopen {
   public:
    Reopening(ThrottleFilter& filter, std::unique_ptr<ThrottleMember> member)
        : filter_(filter), member_(std::move(member)) {}
    void commit() noexcept override { filter_.member_ = std::move(member_); }

   private:
    ThrottleFilter& filter_;
    std::unique_ptr<ThrottleMember> member_;
  };

  std::unique_ptr<ThrottleMember> join(std::shared_ptr<ThrottleGroup> group) const {
    auto lifted = [lifts = lifts_] { return lifts->load() != 0; };
    return std::make_unique<ThrottleMember>(std::move(group), std::move(lifted));
  }

  Child& file_;
  const ThrottleGroupStore& groups_;
  const LiftCount lifts_ = std::make_shared<std::atomic<unsigned>>(0);
  std::unique_ptr<ThrottleMember> member_;
};

Result<std::shared_ptr<ThrottleGroup>> ThrottleFilter::find_group(const ThrottleGroupStore& groups,
                                                                  const ThrottleOptions& options) {
  if (!options.group) {
    return fail(Error(ErrorCode::kInvalidArgument, "throttle wants the option \"throttle-group\"")
                    .because("throttle-group-missing"));
  }
  std::shared_ptr<ThrottleGroup> group = groups.throttle_group(*options.group);
  if (group) return group;
  return fail(
      Error(ErrorCode::kNotFound, fmt::format("there is no throttle group \"{}\"", *options.group))
          .because("throttle-group-not-found", {*options.group}));
}

Task<Result<std::unique_ptr<PreparedReopen>>> ThrottleFilter::prepare_reopen(OptionDict& options,
                                                                             const OpenFlags&) {
  Result<ThrottleOptions> taken = take_options<ThrottleOptions>(options);
  if (!taken) co_return fail(taken.error());
  if (!taken->group) taken->group = member_->group()->name();
  Result<std::shared_ptr<ThrottleGroup>> group = find_group(groups_, *taken);
  if (!group) co_return fail(group.error());
  std::unique_ptr<PreparedReopen> prepared =
      std::make_unique<Reopening>(*this, join(std::move(*group)));
  co_return std::move(prepared);
}

Task<Result<std::unique_ptr<Driver>>> open_throttle(OpenContext& context) {
  const Result<ThrottleOptions> options = take_options<ThrottleOptions>(context.options());
  if (!options) co_return fail(options.error());
  Result<std::shared_ptr<ThrottleGroup>> group =
      ThrottleFilter::find_group(context.throttle_groups(), *options);
  if (!group) co_return fail(group.error());
  Result<Child*> file = co_await context.open_child("file", ChildRole::kFiltered);
  if (!file) co_return fail(file.error());
  std::unique_ptr<Driver> driver =
      std::make_unique<ThrottleFilter>(**file, context.throttle_groups(), std::move(*group));
  co_return std::move(driver);
}

}  // namespace

constexpr ObjectOption kThrottleObjects[] = {{"file"}};

constinit const DriverSpec throttle_driver{
    .name = "throttle",
    .summary = "passes on as fast as a throttle group allows",
    .kind = NodeKind::kFilter,
    .open = open_throttle,
    .open_options = describe_options<ThrottleOptions>,
    .objects = kThrottleObjects,
};

}  // namespace ashlar
