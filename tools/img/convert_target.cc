// Creating, opening and giving up the target of a conversion.
#include "tools/img/convert_target.h"

#include <fmt/format.h>

#include <filesystem>

#include "tools/common/peer_text.h"
#include "tools/common/unfinished_file.h"

namespace ashlar::tools {
namespace {

constexpr std::string_view kBackingFile = "backing_file";
constexpr std::string_view kBackingFormat = "backing_fmt";

Task<Result<void>> create_task(Graph& graph, std::string name, std::string format,
                               OptionDict options) {
  co_return co_await graph.create_image(std::move(name), std::move(format), std::move(options));
}

Task<Result<void>> flush_task(Backend& image) { co_return co_await image.flush(); }

Task<void> close_task(Graph& graph, Backend& image) {
  // The copy has failed already: another error says nothing new.
  (void)co_await image.eject_medium(Backend::Eject::kForce);
  co_await graph.settle();
}

}  // namespace

bool ConvertTarget::complain(std::string_view text) const {
  session_.program().error(text);
  return false;
}

bool ConvertTarget::check_compression(bool supported) const {
  if (supported || !options_.compressed()) return true;
  return complain("Compression not supported for this file format");
}

bool ConvertTarget::prepare(size_t sources) {
  if (options_.how == ConvertOptions::Target::kCreated) return prepare_creation(sources);
  overlay_ = options_.backing_file.has_value();
  return true;
}

bool ConvertTarget::prepare_creation(size_t sources) {
  Result<CreateTable> table =
      CreateTable::of_file(session_.graph(), options_.target_format, options_.target);
  if (!table) return complain(peer_text(table.error()));
  table_ = std::move(*table);
  Result<OptionDict> options = table_->parse(options_.create_lists);
  if (!options) return complain(peer_text(options.error()));
  create_options_ = std::move(*options);
  if (!take_backing(sources)) return false;
  if (options_.compressed()) {
    if (!check_compression(table_->format().supports_compression)) return false;
    if (create_options_.text("preallocation").value_or("off") != "off") {
      return complain("Compression and preallocation not supported at the same time");
    }
  }
  return true;
}

bool ConvertTarget::take_backing(size_t sources) {
  if (options_.backing_file) {
    if (table_->find(kBackingFile) == nullptr) {
      return complain(
          fmt::format("Backing file not supported for file format '{}'", table_->format().name));
    }
    create_options_.set(kBackingFile, *options_.backing_file);
  }
  if (options_.backing_format) {
    if (table_->find(kBackingFormat) == nullptr) {
      return complain(
          fmt::format("Backing format not supported for file format '{}'", table_->format().name));
    }
    create_options_.set(kBackingFormat, *options_.backing_format);
  }
  overlay_ = create_options_.find(kBackingFile) != nullptr;
  if (overlay_ && sources > 1) {
    return complain(
        "Having a backing file for the target makes no sense when concatenating multiple input "
        "images");
  }
  if (overlay_ && create_options_.find(kBackingFormat) == nullptr) {
    return complain("Use of backing file requires explicit backing format");
  }
  return true;
}

bool ConvertTarget::create(uint64_t size) {
  if (options_.how != ConvertOptions::Target::kCreated) return true;
  create_options_.set("size", std::to_string(size));
  new_file_ = is_new_file(options_.target);
  const Result<void> created = session_.wait(create_task(
      session_.graph(), options_.target, std::string(table_->format().name), create_options_));
  if (created) return true;
  return complain(fmt::format("{}: error while converting {}: {}", options_.target,
                              options_.target_format, peer_text(created.error())));
}

std::optional<ImageRequest> ConvertTarget::request() const {
  ImageRequest request;
  request.name = options_.target;
  if (options_.how == ConvertOptions::Target::kExistingByOptions) {
    request.syntax = ImageRequest::Syntax::kOptions;
  } else {
    request.format = options_.target_format;
  }
  request.flags.discard = OpenFlags::Discard::kUnmap;
  if (!set_cache_mode(session_.program(), request, options_.target_cache, "cache")) {
    return std::nullopt;
  }
  return request;
}

bool ConvertTarget::open(uint64_t size) {
  const std::optional<ImageRequest> how = request();
  if (!how) return false;
  image_ = open_backend(session_, *how, Permission::kConsistentRead | Permission::kWrite);
  if (!image_) return false;
  const Node& opened = node();
  if (!check_compression(opened.info().compression == NodeInfo::Compression::kWrites)) return false;
  if (options_.bitmaps != ConvertOptions::Bitmaps::kDrop &&
      opened.driver().bitmap_store() == nullptr) {
    return complain(fmt::format("Format driver '{}' does not support bitmaps", opened.spec().name));
  }
  if (options_.contents == ConvertOptions::Contents::kZeroes && opened.backing() != nullptr) {
    return complain("Cannot use --target-is-zero when the destination image has a backing file");
  }
  if (opened.size() < size) return complain("output file is smaller than input file");
  return true;
}

bool ConvertTarget::reads_zero() const {
  if (node().backing() != nullptr) return false;
  if (options_.how != ConvertOptions::Target::kCreated) {
    return options_.contents == ConvertOptions::Contents::kZeroes;
  }
  return node().info().fresh == NodeInfo::Fresh::kZeroes;
}

Result<void> ConvertTarget::flush() { return session_.wait(flush_task(*image_)); }

void ConvertTarget::discard() {
  if (image_) {
    session_.wait(close_task(session_.graph(), *image_));
    image_ = {};
  }
  std::error_code ignored;
  if (new_file_) std::filesystem::remove(options_.target, ignored);
}

}  // namespace ashlar::tools
