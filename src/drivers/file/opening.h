// How a file is opened: access, cache mode, what kind of file it is, how direct access must be
// aligned.
#pragma once

#include <cstdint>
#include <string>

#include "ashlar/driver.h"
#include "drivers/file/descriptor.h"

namespace ashlar::file {

/// Which of the two drivers.
enum class Flavor : uint8_t { kFile, kHostDevice };
std::string_view name_of(Flavor flavor);

/// What direct access asks for. 1 and 1 with the page cache.
struct Alignment {
  uint32_t request = 1;
  uint32_t memory = 1;
};

/// The flags of open() that `flags` stand for.
int access_flags(const OpenFlags& flags);

/// Opens for requests. Errors: those of open() with reason "file-open" {path};
/// kUnsupported "file-no-direct" {path}; kInvalidArgument "file-not-regular", "file-not-device"
/// {driver, path}.
Result<Descriptor> open_for_requests(const std::string& path, Flavor flavor,
                                     const OpenFlags& flags);
/// The same file with other flags. Errors: as above.
Result<Descriptor> reopen_for_requests(const Descriptor& descriptor, const std::string& path,
                                       const OpenFlags& flags);

/// Finds out by asking the kernel, or else by trying.
Result<Alignment> find_alignment(const Descriptor& descriptor, const std::string& path,
                                 const OpenFlags& flags);

/// `filename` without the prefix "file:" or "host_device:", and such that what is left does not
/// look as if it had a prefix.
std::string path_of(std::string_view filename, Flavor flavor);
/// Whether `path` is a block or character device now.
bool is_device(const std::string& path);

}  // namespace ashlar::file
