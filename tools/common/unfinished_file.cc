// Removing of files that were not finished.
#include "tools/common/unfinished_file.h"

#include <unistd.h>

#include <filesystem>

namespace ashlar::tools {

bool is_new_file(const std::string& name) {
  const size_t colon = name.find(':');
  if (colon != std::string::npos && name.find('/') >= colon) return false;
  std::error_code problem;
  const auto status = std::filesystem::symlink_status(name, problem);
  return status.type() == std::filesystem::file_type::not_found;
}

UnfinishedFile::UnfinishedFile(std::string name)
    : name_(std::move(name)), signals_({}, [this] { stop(); }) {}

void UnfinishedFile::remove() const {
  std::error_code ignored;
  if (remove_.load()) std::filesystem::remove(name_, ignored);
}

void UnfinishedFile::stop() const {
  remove();
  ::_exit(signals_.exit_status());
}

}  // namespace ashlar::tools
