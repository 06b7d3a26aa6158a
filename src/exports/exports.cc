// Making and removing exports.
#include "exports/exports.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace ashlar {
namespace {

std::unexpected<Error> refuse(ErrorCode code, std::string_view reason, std::string message,
                              std::initializer_list<std::string> values) {
  return fail(Error(code, std::move(message)).because(reason, values));
}

bool is_identifier(std::string_view id) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (id.empty() || !is_letter(id[0])) return false;
  return std::ranges::all_of(id, [is_letter](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

Result<std::string> take_required(OptionDict& options, std::string_view name) {
  std::optional<std::string> text = options.take_text(name);
  if (text) return std::move(*text);
  return refuse(ErrorCode::kInvalidArgument, "option-missing",
                fmt::format("export: option \"{}\" is missing", name), {std::string(name)});
}

Result<bool> take_flag(OptionDict& options, std::string_view name) {
  Result<std::optional<bool>> given = options.take_switch(name);
  if (!given) return fail(given.error());
  return given->value_or(false);
}

}  // namespace

/// What add() was asked for, with everything checked that can be without waiting.
struct ExportRegistry::Plan {
  std::string id;
  const ExportSpec* spec = nullptr;
  std::optional<std::string> node;
  std::optional<std::string> backend;
  bool writable = false;
  bool write_through = false;
  std::vector<Loop*> loops;
  OptionDict rest;
};

ExportRegistry::~ExportRegistry() { assert(entries_.empty()); }

ExportRegistry::Entry* ExportRegistry::find(std::string_view id) const {
  const auto found = std::ranges::find(
      entries_, id, [](const auto& entry) -> std::string_view { return entry->id; });
  return found == entries_.end() ? nullptr : found->get();
}

Result<std::vector<Loop*>> ExportRegistry::take_loops(OptionDict& options) const {
  std::vector<std::string> names;
  if (std::optional<std::string> one = options.take_text("iothread")) names.push_back(*one);
  const bool several = options.has_subtree("iothread");
  const OptionDict list = options.take_subtree("iothread");
  for (const auto& [index, value] : list.entries()) names.push_back(*list.text(index));
  Result<bool> fixed = take_flag(options, "fixed-iothread");
  if (!fixed) return fail(fixed.error());
  if (*fixed && several) {
    return refuse(ErrorCode::kInvalidArgument, "export-fixed-iothreads",
                  "export: \"fixed-iothread\" goes with one iothread, not with a list", {});
  }
  std::vector<Loop*> loops;
  for (const std::string& name : names) {
    Loop* loop = host_.find_loop(name);
    if (loop == nullptr) {
      return refuse(ErrorCode::kNotFound, "iothread-not-found",
                    fmt::format("export: there is no iothread \"{}\"", name), {name});
    }
    loops.push_back(loop);
  }
  if (loops.empty()) loops.push_back(&graph_.runtime().control_loop());
  return loops;
}

Result<ExportRegistry::Plan> ExportRegistry::plan(OptionDict options) const {
  Plan plan;
  Result<std::string> type = take_required(options, "type");
  if (!type) return fail(type.error());
  const auto spec = std::ranges::find(kinds_, *type, &ExportSpec::name);
  if (spec == kinds_.end()) {
    return refuse(ErrorCode::kInvalidArgument, "export-type",
                  fmt::format("export: there is no type \"{}\"", *type), {*type});
  }
  plan.spec = *spec;
  Result<std::string> id = take_required(options, "id");
  if (!id) return fail(id.error());
  plan.id = *id;
  if (!is_identifier(plan.id)) {
    return refuse(ErrorCode::kInvalidArgument, "export-id",
                  fmt::format("export: \"{}\" is no id: letters, digits, '-', '.' and '_', a "
                              "letter first",
                              plan.id),
                  {plan.id});
  }
  if (find(plan.id) != nullptr) {
    return refuse(ErrorCode::kExists, "export-exists",
                  fmt::format("export \"{}\" exists already", plan.id), {plan.id});
  }
  plan.node = options.take_text("node-name");
  plan.backend = options.take_text("backend");
  if (plan.node.has_value() == plan.backend.has_value()) {
    return refuse(ErrorCode::kInvalidArgument, "export-what",
                  "export: give either \"node-name\" or \"backend\"", {});
  }
  Result<bool> writable = take_flag(options, "writable");
  if (!writable) return fail(writable.error());
  Result<bool> through = take_flag(options, "writethrough");
  if (!through) return fail(through.error());
  plan.writable = *writable;
  plan.write_through = *through;
  Result<std::vector<Loop*>> loops = take_loops(options);
  if (!loops) return fail(loops.error());
  plan.loops = std::move(*loops);
  plan.rest = std::move(options);
  return plan;
}

Task<Result<BackendRef>> ExportRegistry::backend_for(const Plan& plan) {
  if (plan.backend) {
    BackendRef backend = graph_.find_backend(*plan.backend);
    if (!backend) {
      co_return refuse(ErrorCode::kNotFound, "backend-not-found",
                       fmt::format("there is no backend \"{}\"", *plan.backend), {*plan.backend});
    }
    if (const DeviceCallbacks* device = backend->device()) {
      co_return refuse(
          ErrorCode::kBusy, "device-attached",
          fmt::format("backend \"{}\" is in use by {}", *plan.backend, device->describe()),
          {*plan.backend, device->describe()});
    }
    co_return backend;
  }
  Node* node = graph_.find_node(*plan.node);
  if (node == nullptr) {
    co_return refuse(ErrorCode::kNotFound, "export-node-not-found",
                     fmt::format("there is no node \"{}\"", *plan.node), {*plan.node});
  }
  Result<BackendRef> made = graph_.create_backend();
  if (!made) co_return fail(made.error());
  host_.backend_made(**made);
  NodeRef medium(node);
  Result<void> inserted = co_await (*made)->insert_medium(std::move(medium));
  if (!inserted) co_return fail(inserted.error());
  co_return std::move(*made);
}

Task<Result<void>> ExportRegistry::add(OptionDict options) {
  Result<Plan> plan = this->plan(std::move(options));
  if (!plan) co_return fail(plan.error());
  // From here on the id is taken: others may add while this waits.
  auto added = std::make_unique<Entry>();
  Entry& entry = *added;
  entry.id = plan->id;
  entry.spec = plan->spec;
  entry.loops = plan->loops;
  entry.origin = plan->backend ? Entry::Origin::kNamed : Entry::Origin::kMadeForExport;
  entries_.push_back(std::move(added));

  Result<BackendRef> backend = co_await backend_for(*plan);
  if (!backend) {
    erase(entry);
    co_return fail(backend.error());
  }
  entry.backend = *backend;
  ExportSetup setup;
  setup.id = plan->id;
  setup.backend = std::move(*backend);
  setup.node_name = plan->node ? *plan->node : *plan->backend;
  setup.writable = plan->writable;
  setup.write_through = plan->write_through;
  setup.loops = plan->loops;
  setup.nbd_server = host_.nbd_server();
  setup.options = std::move(plan->rest);
  Result<void> started = co_await start(entry, std::move(setup));
  co_return started;
}

Task<Result<void>> ExportRegistry::start(Entry& entry, ExportSetup setup) {
  Result<void> done = ok();
  if (setup.writable && setup.backend->has_medium() && setup.backend->root()->flags().read_only) {
    done = refuse(ErrorCode::kReadOnly, "export-read-only",
                  fmt::format("export: \"{}\" is read-only, it cannot be written", setup.node_name),
                  {setup.node_name});
  }
  if (done) {
    setup.backend->set_write_cache(setup.write_through ? Backend::WriteCache::kThrough
                                                       : Backend::WriteCache::kBack);
    Result<std::unique_ptr<Export>> started = co_await entry.spec->start(std::move(setup));
    if (started) {
      entry.running = std::move(*started);
    } else {
      done = fail(started.error());
    }
  }
  if (done) co_return done;
  setup = ExportSetup();
  const BackendRef backend = std::exchange(entry.backend, {});
  // Emptied now, so that its node is free when the caller hears of the failure.
  if (entry.origin == Entry::Origin::kMadeForExport) {
    (void)co_await backend->eject_medium(Backend::Eject::kForce);
  }
  erase(entry);
  co_return done;
}

void ExportRegistry::erase(const Entry& entry) {
  std::erase_if(entries_, [&entry](const auto& each) { return each.get() == &entry; });
}

Task<Result<void>> ExportRegistry::remove(std::string id, Removal how) {
  Entry* entry = find(id);
  if (entry == nullptr || entry->running == nullptr) {
    co_return refuse(ErrorCode::kNotFound, "export-not-found",
                     fmt::format("there is no export \"{}\"", id), {id});
  }
  if (entry->shutting_down) {
    co_return refuse(ErrorCode::kBusy, "export-shutting-down",
                     fmt::format("export \"{}\" is shutting down already", id), {id});
  }
  if (how == Removal::kSafe && entry->running->in_use()) {
    co_return refuse(ErrorCode::kBusy, "export-in-use",
                     fmt::format("export \"{}\" has clients", id), {id});
  }
  entry->shutting_down = true;
  if (how == Removal::kHard) {
    removals_.spawn(shut(*entry));
  } else {
    co_await shut(*entry);
  }
  co_return ok();
}

Task<void> ExportRegistry::shut(Entry& entry) {
  // What an error policy holds would keep the export for ever.
  entry.backend->set_error_policy(ErrorPolicy::kReport, ErrorPolicy::kReport);
  entry.backend->resume();
  co_await entry.running->close();
  entry.running.reset();
  const BackendRef backend = std::exchange(entry.backend, {});
  if (entry.origin == Entry::Origin::kMadeForExport) {
    (void)co_await backend->eject_medium(Backend::Eject::kForce);
  }
  const std::string id = entry.id;
  erase(entry);
  host_.export_deleted(id, *backend);
}

std::vector<ExportRegistry::Listed> ExportRegistry::list() const {
  std::vector<Listed> all;
  for (const auto& entry : entries_) {
    if (entry->running == nullptr) continue;
    Node* medium = entry->backend->root();
    all.push_back({entry->id, entry->spec->name, medium == nullptr ? std::string() : medium->name(),
                   entry->backend, entry->shutting_down});
  }
  return all;
}

BackendRef ExportRegistry::backend_of(std::string_view id) const {
  const Entry* entry = find(id);
  return entry == nullptr ? BackendRef() : entry->backend;
}

bool ExportRegistry::uses(const Loop& loop) const {
  return std::ranges::any_of(entries_, [&loop](const auto& entry) {
    return std::ranges::find(entry->loops, &loop) != entry->loops.end();
  });
}

Task<void> ExportRegistry::close_type(std::string_view type) {
  for (size_t at = entries_.size(); at-- > 0;) {
    if (at >= entries_.size()) continue;  // others have gone meanwhile
    Entry& entry = *entries_[at];
    if (entry.running == nullptr || entry.shutting_down) continue;
    if (!type.empty() && entry.spec->name != type) continue;
    entry.shutting_down = true;
    co_await shut(entry);
  }
  co_await removals_.join();
}

Task<void> ExportRegistry::close() { return close_type({}); }

}  // namespace ashlar
