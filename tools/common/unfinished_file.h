// A file that is being made: gone again unless it gets finished.
#pragma once

#include <atomic>
#include <string>

#include "tools/common/signals.h"

namespace ashlar::tools {

/// Whether there is no file of that name; false for names that are no plain paths.
bool is_new_file(const std::string& name);

/// While it lives, a signal to stop ends the process. From begin() to keep() that, or destruction,
/// removes the file if there was none of that name before: nobody is to take a part for the whole.
/// Has to be there before other threads are, which would take the signals.
class UnfinishedFile {
 public:
  explicit UnfinishedFile(std::string name);
  UnfinishedFile(const UnfinishedFile&) = delete;
  ~UnfinishedFile() { remove(); }

  void begin() { remove_.store(is_new_file(name_)); }
  void keep() { remove_.store(false); }

 private:
  void remove() const;
  void stop() const;

  const std::string name_;
  std::atomic<bool> remove_{false};
  SignalWatcher signals_;
};

}  // namespace ashlar::tools
