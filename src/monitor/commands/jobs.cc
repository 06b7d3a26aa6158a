// Commands about jobs.
#include <fmt/format.h>

#include "monitor/errors.h"
#include "monitor/monitor.h"

namespace ashlar::monitor {
namespace {

std::string id_of(const JsonInput& arguments) { return arguments["id"].get<std::string>(); }

Task<Result<Json>> query_jobs(Monitor& monitor, JsonInput) {
  Json list = Json::array();
  for (const Jobs::Listed& job : monitor.jobs().list()) {
    Json entry = {{"current-progress", job.done ? 1 : 0},
                  {"status", job.status},
                  {"total-progress", 1},
                  {"type", job.type},
                  {"id", job.id}};
    if (!job.error.empty()) entry["error"] = job.error;
    list.push_back(std::move(entry));
  }
  co_return list;
}

/// None of the jobs that there are copies blocks.
Task<Result<Json>> query_block_jobs(Monitor&, JsonInput) { co_return Json::array(); }

Task<Result<Json>> dismiss(Monitor& monitor, JsonInput arguments) {
  Result<void> done = monitor.jobs().dismiss(id_of(arguments));
  if (!done) co_return fail(done.error());
  co_return nothing();
}

/// Creation is one step: it is over before it could be interrupted, and then says so.
Task<Result<Json>> cancel(Monitor& monitor, JsonInput arguments) {
  Result<void> allowed = monitor.jobs().check_verb(id_of(arguments), "cancel");
  if (!allowed) co_return fail(allowed.error());
  co_return nothing();
}

constexpr Command kCommands[] = {
    {"query-jobs", "", "[JobInfo]", query_jobs, "all jobs and how far they are",
     Command::Oob::kAllowed},
    {"query-block-jobs", "", "[any]", query_block_jobs, "jobs that copy blocks"},
    {"job-dismiss", "id:str", "", dismiss, "forgets a job that is over"},
    {"job-cancel", "id:str", "", cancel, "asks a job to end"},
};

}  // namespace

std::span<const Command> job_commands() { return kCommands; }

}  // namespace ashlar::monitor
