// img convert: copies images into another format, place or shape.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <thread>

#include "tools/common/peer_text.h"
#include "tools/common/progress.h"
#include "tools/img/bitmap_copy.h"
#include "tools/img/convert_options.h"
#include "tools/img/convert_target.h"
#include "tools/img/img.h"

namespace ashlar::tools {
namespace {

/// Threads that copy, at most: more only wait for memory.
constexpr unsigned kMaxLoops = 4;
constexpr uint64_t kPiece = 256_KiB;  // stays in the second-level cache
constexpr uint64_t kLongestPiece = 16_MiB;
constexpr uint64_t kPage = 4096;

/// Whether two images are the same one.
bool same_image(const Node& one, const Node& other) {
  if (one.filename() == other.filename()) return true;
  std::error_code unknown;
  return std::filesystem::equivalent(one.filename(), other.filename(), unknown);
}

/// How many layers of the source's chain lie above the target's backing image. Where the chain
/// does not contain that image, its contents are taken to be those below the top.
unsigned layers_to_copy(const Node& source, const Node& target) {
  const Node* below = target.backing();
  unsigned layers = 1;
  for (const Node* at = source.backing(); below != nullptr && at != nullptr; at = at->backing()) {
    if (same_image(*at, *below)) return layers;
    ++layers;
  }
  return 1;
}

/// Tells of sectors that became zeroes.
class SalvageWarnings final : public SalvageReport {
 public:
  SalvageWarnings(const Program& program, bool quiet) : program_(program), quiet_(quiet) {}
  void unreadable(uint64_t offset, const Error& error) override {
    if (quiet_) return;
    program_.warning(
        fmt::format("error while reading offset {}: {}", offset, peer_errno_text(error)));
  }

 private:
  const Program& program_;
  const bool quiet_;
};

class Conversion {
 public:
  Conversion(Session& session, Progress& progress, const ConvertOptions& options)
      : session_(session), progress_(progress), options_(options), target_(session, options) {}

  bool open_sources(const Arguments& arguments) {
    Program& program = session_.program();
    for (const std::string_view name : options_.sources) {
      std::optional<ImageRequest> request = image_request(program, arguments, name);
      if (!request || !set_cache_mode(program, *request, options_.source_cache, "source cache")) {
        return false;
      }
      if (options_.snapshot && !select_snapshot(session_, *request, *options_.snapshot)) {
        return false;
      }
      BackendRef image = open_backend(session_, *request, Permission::kConsistentRead);
      if (!image) return false;
      const Result<void> appended = source_.append(std::move(image));
      if (!appended) {
        return complain(
            fmt::format("Could not get size of {}: {}", name, peer_errno_text(appended.error())));
      }
    }
    return true;
  }

  int run(const Arguments& arguments) {
    if (!open_sources(arguments) || !check_bitmaps() || !target_.prepare(source_.count()) ||
        !target_.create(source_.size()) || !target_.open(source_.size())) {
      return kFailure;
    }
    if (bitmaps_ && !bitmaps_->check_target(target_.node(), source_node().size()))
      return give_up(kFailure);
    if (const int status = copy(arguments); status != kSuccess) return give_up(status);
    if (bitmaps_ && !bitmaps_->copy_to(target_.node())) return give_up(kFailure);
    progress_.finish();
    return kSuccess;
  }

 private:
  bool complain(std::string_view text) const {
    session_.program().error(text);
    return false;
  }

  int give_up(int status) {
    target_.discard();
    return status;
  }

  const Node& source_node() const { return *source_.image(0).root(); }

  bool check_bitmaps() {
    if (options_.bitmaps == ConvertOptions::Bitmaps::kDrop) return true;
    if (source_.count() > 1) {
      return complain("Copying bitmaps only possible with single source");
    }
    BitmapStore* store = source_node().driver().bitmap_store();
    if (store == nullptr) return complain("Source lacks bitmap support");
    bitmaps_.emplace(session_, *store);
    return bitmaps_->find(options_.bitmaps == ConvertOptions::Bitmaps::kCopySound
                              ? BitmapCopy::Broken::kSkip
                              : BitmapCopy::Broken::kRefuse);
  }

  CopyRules rules() const {
    const NodeInfo info = target_.node().info();
    CopyRules rules;
    const bool has_clusters = info.cluster_size != 0 && std::has_single_bit(info.cluster_size);
    rules.unit = has_clusters ? info.cluster_size : kPage;
    if (options_.compressed()) {
      // Clusters are written whole, each by itself, so that many are compressed side by side.
      rules.piece = std::max(rules.unit, kPage);
      rules.end = CopyRules::End::kCopied;
    } else {
      // Others can be written bit by bit.
      if (info.subcluster_size != 0) rules.unit = std::min(rules.unit, info.subcluster_size);
      rules.unit = std::clamp(rules.unit, kPage, kPiece);
      // What is looked through for zeroes must be as long as they have to be.
      const uint64_t zeroes = align_up(options_.copy.zero_block, rules.unit);
      rules.piece = std::clamp(zeroes, kPiece, kLongestPiece);
    }
    if (target_.is_overlay()) {
      rules.layers = layers_to_copy(source_node(), target_.node());
      const Node* below = target_.node().backing();
      rules.backing_size = below == nullptr ? 0 : below->size();
    }
    rules.holes = target_.reads_zero() ? CopyRules::Holes::kSkipped : CopyRules::Holes::kZeroed;
    if (options_.copy.zero_block == 0) rules.holes = CopyRules::Holes::kCopied;
    return rules;
  }

  CopySettings settings(const CopyRules& rules) const {
    CopySettings settings = options_.copy;
    const NodeInfo info = target_.node().info();
    if (settings.zero_block != 0 && options_.compressed()) {
      settings.zero_block = rules.unit;
    } else if (settings.zero_block != 0) {
      // What is allocated as a whole is written as a whole.
      const uint64_t granule =
          info.subcluster_size != 0 ? std::min(info.subcluster_size, rules.unit) : rules.unit;
      settings.zero_block = std::max<uint64_t>(settings.zero_block, granule);
    }
    // Only formats that find room for data as it comes have a layout to keep.
    using Order = CopySettings::Order;
    if (info.cluster_size == 0) settings.order = Order::kAny;
    settings.writers = info.writers;
    if (settings.order == Order::kSource && options_.compressed()) {
      settings.order = Order::kSourceStarts;
    }
    return settings;
  }

  static Task<void> run_engine(CopyEngine& engine) { co_await engine.run(); }

  int copy(const Arguments& arguments) {
    const CopyRules cut = rules();
    CopyPlan plan(source_, cut);
    const SignalWatcher& signals = progress_.signals();
    plan.on_progress([this, &plan, &signals](uint64_t position) {
      progress_.update(position, source_.size());
      if (signals.stopping()) plan.stop();
    });
    CopyEngine engine({source_, target_.image()}, plan, settings(cut));
    SalvageWarnings warnings(session_.program(), arguments.has(kQuietRow.name));
    engine.report_to(warnings);
    std::optional<CopyOffload> offload;
    if (options_.way == ConvertOptions::Way::kOffload) {
      offload.emplace(source_, target_.image());
      engine.offload_to(*offload);
    }
    session_.wait(run_engine(engine));
    if (engine.failure()) return tell(*engine.failure());
    if (signals.stopping()) return signals.exit_status();
    const Result<void> flushed = target_.flush();
    if (flushed) return kSuccess;
    complain(fmt::format("error while writing: {}", peer_errno_text(flushed.error())));
    return kFailure;
  }

  int tell(const CopyFailure& failure) const {
    const std::string reason = peer_errno_text(failure.error);
    switch (failure.step) {
      case CopyFailure::Step::kStatus:
        complain(fmt::format("error while reading block status at offset {}: {}", failure.offset,
                             reason));
        break;
      case CopyFailure::Step::kRead:
        complain(fmt::format("error while reading at byte {}: {}", failure.offset, reason));
        break;
      case CopyFailure::Step::kWrite:
        complain(fmt::format("error while writing at byte {}: {}", failure.offset, reason));
        break;
    }
    return kFailure;
  }

  Session& session_;
  Progress& progress_;
  const ConvertOptions& options_;
  CopySource source_;
  std::optional<BitmapCopy> bitmaps_;
  ConvertTarget target_;
};

/// -o help, for which nothing else matters.
int print_option_help(Session& session, const OptionHelpWish& wish) {
  const Result<std::string> help = create_option_help(session.graph(), wish.format, wish.target);
  if (!help) {
    session.program().error(peer_text(help.error()));
    return kFailure;
  }
  session.program().out().write(*help);
  return kSuccess;
}

}  // namespace

int run_convert(Program& program, const Arguments& arguments) {
  if (const auto wish = wished_option_help(arguments)) {
    const StartedSession started = start_session(program, arguments);
    return started.session ? print_option_help(*started.session, *wish) : started.status;
  }
  const std::optional<ConvertOptions> options = parse_convert_options(program, arguments);
  if (!options) return kFailure;
  Progress::Mode mode = Progress::Mode::kOnSignal;
  if (arguments.has(kProgressRow.name)) mode = Progress::Mode::kShown;
  if (arguments.has(kQuietRow.name)) mode = Progress::Mode::kNever;
  Progress progress(program, mode);
  RuntimeOptions runtime;
  runtime.io_loops = std::min(std::thread::hardware_concurrency(), kMaxLoops);
  const StartedSession started = start_session(program, arguments, runtime);
  if (!started.session) return started.status;
  int status = kFailure;
  {
    Conversion conversion(*started.session, progress, *options);
    status = conversion.run(arguments);
  }
  const Result<void> closed = started.session->close();
  // After a failure, what cannot be written back any more is no news.
  if (closed || status != kSuccess) return status;
  program.error(peer_text(closed.error()));
  return kFailure;
}

}  // namespace ashlar::tools
