// From words to flags, and from a parent's flags to a child's.
#include "graph/generic_options.h"

namespace ashlar {

Result<OpenFlags> GenericOptions::flags(OpenFlags defaults) const {
  OpenFlags flags = defaults;
  flags.read_only = read_only.value_or(defaults.read_only);
  flags.auto_read_only = auto_read_only.value_or(defaults.auto_read_only);
  flags.force_share = force_share.value_or(defaults.force_share);
  flags.cache_direct = cache_direct.value_or(defaults.cache_direct);
  flags.cache_no_flush = cache_no_flush.value_or(defaults.cache_no_flush);
  if (discard) {
    const bool unmap = *discard == "unmap" || *discard == "on";
    flags.discard = unmap ? OpenFlags::Discard::kUnmap : OpenFlags::Discard::kIgnore;
  }
  if (detect_zeroes) {
    flags.detect_zeroes = *detect_zeroes == "unmap" ? OpenFlags::DetectZeroes::kUnmap
                          : *detect_zeroes == "on"  ? OpenFlags::DetectZeroes::kOn
                                                    : OpenFlags::DetectZeroes::kOff;
  }
  if (flags.detect_zeroes == OpenFlags::DetectZeroes::kUnmap &&
      flags.discard != OpenFlags::Discard::kUnmap) {
    return fail(
        Error(ErrorCode::kInvalidArgument,
              "option \"detect-zeroes\" can be \"unmap\" only where \"discard\" is \"unmap\"")
            .because("detect-zeroes-discard"));
  }
  if (flags.force_share && !flags.read_only) {
    return fail(Error(ErrorCode::kInvalidArgument,
                      "option \"force-share\" can be on only where \"read-only\" is on")
                    .because("force-share-writable"));
  }
  return flags;
}

void GenericOptions::merge(const GenericOptions& newer) {
  const auto take = [](auto& mine, const auto& theirs) {
    if (theirs) mine = theirs;
  };
  take(read_only, newer.read_only);
  take(auto_read_only, newer.auto_read_only);
  take(force_share, newer.force_share);
  take(cache_direct, newer.cache_direct);
  take(cache_no_flush, newer.cache_no_flush);
  take(discard, newer.discard);
  take(detect_zeroes, newer.detect_zeroes);
}

OpenFlags flags_for_child(const OpenFlags& parent, NodeKind parent_kind, ChildRole role) {
  OpenFlags child = parent;
  child.detect_zeroes = OpenFlags::DetectZeroes::kOff;
  child.probed = false;
  if (role == ChildRole::kBacking) {
    child.read_only = true;
    child.auto_read_only = false;
    child.checking = false;
    child.discard = OpenFlags::Discard::kIgnore;
  } else if (parent_kind == NodeKind::kFormat) {
    // A format decides which of its own space it gives back; what guests discard stops at the
    // format where it is to be ignored.
    child.discard = OpenFlags::Discard::kUnmap;
  }
  return child;
}

}  // namespace ashlar
