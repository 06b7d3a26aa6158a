// Copying the persistent bitmaps of an image into another one.
#pragma once

#include <vector>

#include "ashlar/node.h"
#include "tools/common/session.h"

namespace ashlar::tools {

/// The bitmaps of one image. Steps complain and say whether to go on.
class BitmapCopy {
 public:
  enum class Broken : uint8_t { kRefuse, kSkip };

  BitmapCopy(Session& session, BitmapStore& source) : session_(session), source_(source) {}

  /// Finds what there is to copy. `broken`: what to do with bitmaps that nobody saved.
  bool find(Broken broken);
  /// Whether `target` can take them, before anything is copied.
  bool check_target(const Node& target, uint64_t source_size) const;
  bool copy_to(Node& target);

 private:
  Session& session_;
  BitmapStore& source_;
  std::vector<PersistentBitmap> bitmaps_;
};

}  // namespace ashlar::tools
