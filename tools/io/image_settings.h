// How an image is opened by the io tool: what its options and those of the open command share.
#pragma once

#include <string_view>

#include "tools/common/program.h"
#include "tools/io/shell_image.h"

namespace ashlar::tools::io {

/// Collects the letters that say how to open an image.
class ImageSettings {
 public:
  /// As the shell opens images when nothing is said: writable, and discards free space.
  ImageSettings() { image_.image.flags.discard = OpenFlags::Discard::kUnmap; }

  /// One of -r -s -n -C -k -U, or -t -d -i with a value. Complains about the value.
  bool apply(Program& program, char letter, std::string_view value);

  /// What to open; the name is still to be filled in.
  const ShellImage& image() const { return image_; }

 private:
  bool set_cache(Program& program, std::string_view mode);
  ShellImage image_;
};

}  // namespace ashlar::tools::io
