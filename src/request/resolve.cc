// The walk down the graph: format after format, layer after layer, to storage.
#include "request/resolve.h"

#include <algorithm>

#include "graph/graph_node.h"

namespace ashlar::request {

namespace {

/// One walk: where it is now, and what it has found out.
class Walk {
 public:
  Walk(GraphNode& node, ByteRange range) noexcept : node_(&node), range_(range) {
    target_.length = range.length;
  }

  /// Takes all steps that need no I/O. True when the walk has ended, false at a format that does
  /// not have its metadata resident.
  bool advance() noexcept {
    while (!ended_) {
      if (!enter()) continue;
      std::optional<Mapping> mapping = node_->format()->lookup(range_);
      if (!mapping) return false;
      apply(*mapping);
    }
    return true;
  }
  /// One step, with the answer of map().
  void apply(const Mapping& mapping) noexcept {
    limit(mapping.length);
    if (const auto* file = std::get_if<InFile>(&mapping.where)) {
      node_ = static_cast<Edge*>(file->child)->child();
      range_.offset = file->offset;
    } else if (const auto* encoded = std::get_if<Encoded>(&mapping.where)) {
      target_.encoded = *encoded;
      end(Target::Kind::kEncoded);
    } else if (std::holds_alternative<ReadsZero>(mapping.where)) {
      end(Target::Kind::kZero);
    } else {
      enter_backing();
    }
  }

  GraphNode& node() const noexcept { return *node_; }
  ByteRange range() const noexcept { return range_; }
  const Target& target() const noexcept { return target_; }
  /// The layer below the first one from which on nothing was known; null: all was.
  GraphNode* unknown_chain() const noexcept { return unknown_chain_; }
  uint64_t chain_offset() const noexcept { return chain_offset_; }

 private:
  /// Looks at a new node. False when there is nothing to ask a format.
  bool enter() noexcept {
    const uint64_t size = node_->size();
    if (range_.offset >= size) {
      end(Target::Kind::kZero);
      return false;
    }
    limit(size - range_.offset);
    if (node_->format() != nullptr) return true;
    end(Target::Kind::kStorage);
    return false;
  }

  void enter_backing() noexcept {
    Edge* backing = node_->backing_edge();
    if (backing == nullptr) {
      end(Target::Kind::kZero);
      return;
    }
    node_ = backing->child();
    // A chain of one layer is a lookup anyway; from two on, ask what was resolved before.
    if (node_->backing_edge() == nullptr || unknown_chain_ != nullptr) return;
    if (range_.offset >= node_->size()) return;
    if (auto known = node_->resolved().find(range_.offset)) {
      const uint64_t into = range_.offset - known->start;
      limit(known->length - into);
      if (known->storage == nullptr) {
        end(Target::Kind::kZero);
        return;
      }
      node_ = known->storage;
      range_.offset = known->offset + into;
      end(Target::Kind::kStorage);
      return;
    }
    unknown_chain_ = node_;
    chain_offset_ = range_.offset;
  }

  void limit(uint64_t length) noexcept {
    target_.length = std::min(target_.length, length);
    range_.length = target_.length;
  }
  void end(Target::Kind kind) noexcept {
    target_.kind = kind;
    target_.node = node_;
    target_.offset = range_.offset;
    ended_ = true;
  }

  GraphNode* node_;
  ByteRange range_;
  Target target_;
  GraphNode* unknown_chain_ = nullptr;
  uint64_t chain_offset_ = 0;
  bool ended_ = false;
};

/// Extents are noted in pieces of this size, so that one walk serves the requests around it.
constexpr uint64_t kNotedLength = 2_MiB;
/// A block that is in more pieces than this is walked anew each time.
constexpr int kNotedPieces = 8;

/// After a walk through a long chain whose end was not known: notes where the block leads.
void note_chain(const Walk& walk) noexcept {
  GraphNode* chain = walk.unknown_chain();
  if (chain == nullptr) return;
  const uint32_t generation = chain->resolved().generation();
  uint64_t start = align_down(walk.chain_offset(), ExtentIndex::kBlock);
  for (int piece = 0; piece < kNotedPieces; ++piece) {
    Walk wide(*chain, {start, kNotedLength});
    if (!wide.advance()) return;
    const Target& target = wide.target();
    if (start + target.length > walk.chain_offset()) {
      if (target.kind == Target::Kind::kEncoded) return;
      ResolvedExtent extent;
      extent.start = start;
      extent.length = target.length;
      extent.storage = target.kind == Target::Kind::kStorage ? target.node : nullptr;
      extent.offset = target.offset;
      chain->resolved().note(walk.chain_offset(), extent, generation);
      return;
    }
    start += target.length;
  }
}

}  // namespace

std::optional<Target> resolve_now(GraphNode& node, ByteRange range) noexcept {
  Walk walk(node, range);
  if (!walk.advance()) return std::nullopt;
  note_chain(walk);
  return walk.target();
}

Task<Result<Target>> resolve(GraphNode& node, ByteRange range) {
  Walk walk(node, range);
  while (!walk.advance()) {
    FormatDriver* format = walk.node().format();
    Result<Mapping> mapping = co_await format->map(walk.range());
    if (!mapping) co_return fail(mapping.error());
    walk.apply(*mapping);
  }
  note_chain(walk);
  co_return walk.target();
}

Task<Result<bool>> reads_as_zeroes(GraphNode& node, ByteRange range) {
  while (!range.empty()) {
    Result<Target> target = co_await resolve(node, range);
    if (!target) co_return fail(target.error());
    if (target->kind != Target::Kind::kZero) co_return false;
    range = range.after(target->length);
  }
  co_return true;
}

}  // namespace ashlar::request
