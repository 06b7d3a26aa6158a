// The life of jobs.
#include "monitor/jobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "monitor/errors.h"

namespace ashlar::monitor {
namespace {

bool is_identifier(std::string_view id) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (id.empty() || !is_letter(id[0])) return false;
  return std::ranges::all_of(id, [is_letter](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

}  // namespace

Jobs::~Jobs() { assert(jobs_.empty()); }

Jobs::Job* Jobs::find(std::string_view id) const {
  const auto found = std::ranges::find_if(jobs_, [id](const auto& job) { return job->id == id; });
  return found == jobs_.end() ? nullptr : found->get();
}

void Jobs::enter(Job& job, std::string_view status) {
  job.status = status;
  events_.emit("JOB_STATUS_CHANGE", {{"status", status}, {"id", job.id}});
}

Result<void> Jobs::start(std::string id, std::string_view type, Task<Result<void>> work) {
  if (!is_identifier(id)) return refuse(fmt::format("Invalid job ID '{}'", id));
  if (find(id) != nullptr) return refuse(fmt::format("Job ID '{}' already in use", id));
  Job& job = *jobs_.emplace_back(std::make_unique<Job>());
  job.id = std::move(id);
  job.type = type;
  enter(job, "created");
  enter(job, "running");
  running_.spawn(run(job, std::move(work)));
  return ok();
}

Task<void> Jobs::run(Job& job, Task<Result<void>> work) {
  const Result<void> done = co_await work;
  if (done) {
    enter(job, "waiting");
    enter(job, "pending");
  } else {
    job.error = done.error();
    enter(job, "aborting");
  }
  job.concluded = true;
  enter(job, "concluded");
}

Result<void> Jobs::check_verb(std::string_view id, std::string_view verb) const {
  const Job* job = find(id);
  if (job == nullptr) return refuse("Job not found", ErrorCode::kNotFound);
  if (job->concluded == (verb == "dismiss")) return ok();
  return refuse(fmt::format("Job '{}' in state '{}' cannot accept command verb '{}'", job->id,
                            job->status, verb));
}

Result<void> Jobs::dismiss(std::string_view id) {
  if (Result<void> allowed = check_verb(id, "dismiss"); !allowed) return allowed;
  Job* job = find(id);
  enter(*job, "null");
  std::erase_if(jobs_, [job](const auto& each) { return each.get() == job; });
  return ok();
}

std::vector<Jobs::Listed> Jobs::list() const {
  std::vector<Listed> all;
  for (size_t at = jobs_.size(); at-- > 0;) {
    const Job& job = *jobs_[at];
    all.push_back({job.id, job.type, job.status, job.concluded,
                   job.error ? text_(*job.error) : std::string()});
  }
  return all;
}

Task<void> Jobs::close() {
  co_await running_.join();
  while (!jobs_.empty()) (void)dismiss(jobs_.back()->id);
}

}  // namespace ashlar::monitor
