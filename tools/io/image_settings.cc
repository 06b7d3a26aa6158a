// Letters that say how to open an image.
#include "tools/io/image_settings.h"

#include <fmt/format.h>

namespace ashlar::tools::io {
namespace {

std::optional<OpenFlags::Discard> discard_mode(std::string_view name) {
  if (name == "ignore" || name == "off") return OpenFlags::Discard::kIgnore;
  if (name == "unmap" || name == "on") return OpenFlags::Discard::kUnmap;
  return std::nullopt;
}

}  // namespace

bool ImageSettings::set_cache(Program& program, std::string_view mode) {
  return set_cache_mode(program, image_.image, mode, "cache");
}

bool ImageSettings::apply(Program& program, char letter, std::string_view value) {
  switch (letter) {
    case 'r':
      image_.image.flags.read_only = true;
      return true;
    case 's':
      image_.overlay = ShellImage::Overlay::kTemporary;
      return true;
    case 'C':
      image_.copy_on_read = ShellImage::CopyOnRead::kOn;
      return true;
    case 'U':
      image_.image.flags.force_share = true;
      return true;
    case 'n':
      return set_cache(program, "none");
    case 't':
      return set_cache(program, value);
    case 'k':
      image_.aio = AioMode::kNative;
      return true;
    case 'i':
      image_.aio = parse_aio_mode(value);
      if (!image_.aio) program.error(fmt::format("Invalid aio option: {}", value));
      return image_.aio.has_value();
    case 'd':
      if (const auto mode = discard_mode(value)) {
        image_.image.flags.discard = *mode;
        return true;
      }
      program.error(fmt::format("Invalid discard option: {}", value));
      return false;
    default:
      return true;
  }
}

}  // namespace ashlar::tools::io
