// How the shell opens an image: its own options, and a temporary overlay on request.
#pragma once

#include <optional>

#include "ashlar/backend.h"
#include "tools/common/aio_mode.h"
#include "tools/common/image_arguments.h"
#include "tools/common/temporary_file.h"

namespace ashlar::tools::io {

/// How an image is to be opened in the shell.
struct ShellImage {
  ImageRequest image;
  enum class Overlay : uint8_t { kNone, kTemporary } overlay = Overlay::kNone;
  enum class CopyOnRead : uint8_t { kOff, kOn } copy_on_read = CopyOnRead::kOff;
  std::optional<AioMode> aio{};  ///< empty when nothing chose one
};

/// An image that is open in the shell.
struct OpenImage {
  BackendRef backend;
  std::optional<TemporaryFile> overlay;  ///< what is written goes there
};

/// Opens `what` in an anonymous backend.
Result<OpenImage> open_shell_image(Session& session, const ShellImage& what);

/// What the shell does with an image.
Permissions shell_permissions(bool writable);

}  // namespace ashlar::tools::io
