// Names, queries and flags of metadata contexts.
#include "exports/nbd/contexts.h"

#include <algorithm>

#include "exports/nbd/bitmap_context.h"
#include "protocols/nbd.h"

namespace ashlar::nbd {
namespace {

constexpr std::string_view kDepthContext = "qemu:allocation-depth";
constexpr std::string_view kBitmapNamespace = "qemu:dirty-bitmap:";
constexpr uint32_t kFirstBitmapId = 2;

/// Whether `query` is the namespace of `name`, or all of its name up to some later colon.
bool is_namespace_of(std::string_view query, std::string_view name) {
  return query.ends_with(':') && name.starts_with(query);
}

template <typename Matches>
std::vector<Context> filter(const std::vector<Context>& contexts, Matches matches) {
  std::vector<Context> found;
  std::ranges::copy_if(contexts, std::back_inserter(found),
                       [&matches](const Context& context) { return matches(context.name()); });
  return found;
}

}  // namespace

std::string Context::name() const {
  if (kind == Kind::kBitmap) return std::string(kBitmapNamespace) + bitmap->name();
  return std::string(kind == Kind::kAllocation ? kAllocationContext : kDepthContext);
}

uint64_t Context::flags_of(const Extent& extent) const {
  if (kind == Kind::kAllocationDepth) return extent.present ? uint64_t{extent.depth} + 1 : 0;
  return (extent.data ? 0 : kStateHole) | (extent.zero ? kStateZero : 0);
}

ContextSet::ContextSet(Depth depth) {
  contexts_.emplace_back();
  if (depth == Depth::kShown) {
    Context context;
    context.kind = Context::Kind::kAllocationDepth;
    context.id = 1;
    contexts_.push_back(context);
  }
}

void ContextSet::add(const BitmapContext& bitmap) {
  const auto is_bitmap = [](const Context& each) { return each.kind == Context::Kind::kBitmap; };
  Context context;
  context.kind = Context::Kind::kBitmap;
  context.id = kFirstBitmapId + static_cast<uint32_t>(std::ranges::count_if(contexts_, is_bitmap));
  context.bitmap = &bitmap;
  contexts_.push_back(context);
}

std::vector<Context> ContextSet::list(std::span<const std::string> queries) const {
  if (queries.empty()) return contexts_;
  return filter(contexts_, [queries](const std::string& name) {
    return std::ranges::any_of(queries, [&name](const std::string& query) {
      return query == name || is_namespace_of(query, name);
    });
  });
}

std::vector<Context> ContextSet::select(std::span<const std::string> queries) const {
  return filter(contexts_, [queries](const std::string& name) {
    return std::ranges::find(queries, name) != queries.end();
  });
}

}  // namespace ashlar::nbd
