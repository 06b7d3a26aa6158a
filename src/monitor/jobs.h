// Long work that a client starts and asks about: states, events, and results until dismissed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/error.h"
#include "ashlar/task.h"
#include "async/sync.h"
#include "monitor/events.h"

namespace ashlar::monitor {

/// What turns an error into words for clients.
using ErrorText = std::string (*)(const Error& error);

/// Control loop only.
class Jobs {
 public:
  Jobs(Events& events, ErrorText text) : events_(events), text_(text) {}
  Jobs(const Jobs&) = delete;
  ~Jobs();

  /// Starts `work`; a task of steps that cannot be held up or undone. Its result stays until the
  /// job is dismissed. Errors: an id that is malformed or taken.
  Result<void> start(std::string id, std::string_view type, Task<Result<void>> work);
  Result<void> dismiss(std::string_view id);
  /// Errors: unknown, or in a state that `verb` does not go with.
  Result<void> check_verb(std::string_view id, std::string_view verb) const;

  struct Listed {
    std::string id;
    std::string_view type;
    std::string_view status;
    bool done;
    std::string error;
  };
  /// The newest first.
  std::vector<Listed> list() const;

  /// Waits for what runs and dismisses everything. Before destruction.
  Task<void> close();

 private:
  struct Job {
    std::string id;
    std::string_view type;
    std::string_view status = "undefined";
    std::optional<Error> error;
    bool concluded = false;
  };
  Job* find(std::string_view id) const;
  void enter(Job& job, std::string_view status);
  Task<void> run(Job& job, Task<Result<void>> work);

  Events& events_;
  ErrorText text_;
  std::vector<std::unique_ptr<Job>> jobs_;
  Scope running_;
};

}  // namespace ashlar::monitor
