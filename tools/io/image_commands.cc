// Commands of the shell that open, close and reopen the image.
#include <fmt/format.h>

#include "tools/common/peer_text.h"
#include "tools/io/commands.h"
#include "tools/io/image_settings.h"
#include "tools/io/option_letters.h"

namespace ashlar::tools::io {
namespace {

/// `-o` lists as one list.
std::string joined(std::span<const std::string_view> lists) {
  std::string all;
  for (const std::string_view list : lists) {
    if (!all.empty()) all += ',';
    all += list;
  }
  return all;
}

/// Puts the name and the -o options into `what`. Errors: those of the lists.
Result<void> name_image(ShellImage& what, std::string_view options, std::string_view path) {
  ImageRequest& request = what.image;
  if (path.empty()) {
    request.name = options;
    request.syntax = ImageRequest::Syntax::kOptions;
    return ok();
  }
  request.name = path;
  Result<OptionDict> given = OptionDict::parse_key_value(options);
  if (!given) return fail(given.error());
  request.format = given->take_text("driver");
  request.options = std::move(*given);
  return ok();
}

Outcome run_open(Shell& shell, Words words) {
  const auto letters = OptionLetters::parse(words, "Cd:i:kno:rst:U");
  if (!letters || letters->operands().size() > 1) return shell.usage(words);
  ImageSettings settings;
  for (const char letter : {'r', 's', 'C', 'U', 'n', 'k', 't', 'd', 'i'}) {
    if (!letters->has(letter)) continue;
    if (!settings.apply(shell.program(), letter, letters->value(letter).value_or(""))) {
      return Outcome::kFailed;
    }
  }
  const std::string options = joined(letters->values('o'));
  const bool named = !letters->operands().empty();
  if (!named && options.empty()) return shell.usage(words);
  ShellImage what = settings.image();
  const Result<void> ready = name_image(what, options, named ? letters->operands()[0] : "");
  if (ready) return shell.open(what);
  shell.program().error(peer_text(ready.error()));
  return Outcome::kFailed;
}

Outcome run_close(Shell& shell, Words) { return shell.close(); }

/// What a reopen changes, beside the options of nodes.
struct Reopen {
  OptionDict changes;
  std::optional<Backend::WriteCache> write_cache;
};

/// -c MODE as options. Complains.
bool add_cache_mode(Shell& shell, Reopen& reopen, std::string_view mode) {
  const std::optional<CacheMode> parsed = parse_cache_mode(mode);
  if (!parsed) {
    shell.program().error(fmt::format("Invalid cache option: {}", mode));
    return false;
  }
  if (reopen.changes.has_subtree("cache")) {
    shell.program().error("Cannot set both -c and the cache options");
    return false;
  }
  reopen.changes.set("cache.direct", parsed->direct);
  reopen.changes.set("cache.no-flush", parsed->no_flush);
  reopen.write_cache = parsed->write_cache;
  return true;
}

/// The changes that the letters ask for. Complains.
std::optional<Reopen> parse_reopen(Shell& shell, const OptionLetters& letters) {
  if (letters.has('r') && letters.has('w')) {
    shell.program().error("Only one -r/-w option may be given");
    return std::nullopt;
  }
  Result<OptionDict> given = OptionDict::parse_key_value(joined(letters.values('o')));
  if (!given) {
    shell.program().error(peer_text(given.error()));
    return std::nullopt;
  }
  Reopen reopen{.changes = std::move(*given), .write_cache = {}};
  if (letters.has('c') && !add_cache_mode(shell, reopen, *letters.value('c'))) return std::nullopt;
  if (letters.has('r') || letters.has('w')) {
    if (reopen.changes.find("read-only") != nullptr) {
      shell.program().error("Cannot set both -r/-w and 'read-only'");
      return std::nullopt;
    }
    reopen.changes.set("read-only", letters.has('r'));
  }
  return reopen;
}

Task<Result<void>> reopen_task(Graph& graph, OptionDict changes) {
  std::vector<OptionDict> all;
  all.push_back(std::move(changes));
  co_return co_await graph.reopen(std::move(all));
}

Outcome run_reopen(Shell& shell, Words words) {
  const auto letters = OptionLetters::parse(words, "c:o:rw");
  if (!letters || !letters->operands().empty()) return shell.usage(words);
  std::optional<Reopen> reopen = parse_reopen(shell, *letters);
  if (!reopen) return Outcome::kFailed;
  const bool was_writable = shell.image().writable();
  Result<std::optional<bool>> read_only = OptionDict(reopen->changes).take_switch("read-only");
  if (!read_only) {
    shell.program().error(peer_text(read_only.error()));
    return Outcome::kFailed;
  }
  const bool writable = *read_only ? !**read_only : was_writable;

  // The image cannot become read-only while somebody, the shell included, may write to it.
  shell.wait_for_started();
  if (!writable && shell.set_writable(false) != Outcome::kDone) return Outcome::kFailed;
  reopen->changes.set("node-name", shell.node().name());
  const Result<void> done = shell.wait(reopen_task(shell.session().graph(), reopen->changes));
  if (!done) {
    shell.program().error(peer_text(done.error()));
    if (was_writable) (void)shell.set_writable(true);
    return Outcome::kFailed;
  }
  if (reopen->write_cache) shell.image().set_write_cache(*reopen->write_cache);
  return shell.set_writable(writable);
}

constexpr std::string_view kOpenDetails =
    "\n Opens an image for the other commands: 'open -n -o driver=raw disk.img'.\n\n"
    " -C      copy what is read from backing images\n"
    " -d MODE what a discard does: ignore or unmap (default)\n"
    " -i MODE how files are reached: threads, native or io_uring\n"
    " -k      the same as -i native\n"
    " -n      the same as -t none\n"
    " -o LIST options of the image's driver: key=value,...\n"
    " -r      read only\n"
    " -s      write to a temporary overlay, which is dropped on closing\n"
    " -t MODE cache mode: none, writeback, writethrough, directsync or unsafe\n"
    " -U      take no locks: others may be writing\n\n";
constexpr std::string_view kReopenDetails =
    "\n Changes options of the open image: 'reopen -o lazy-refcounts=on'.\n\n"
    " -c MODE use this cache mode from now on\n"
    " -o LIST options to change: key=value,...\n"
    " -r      read only from now on\n"
    " -w      writable from now on\n\n";

constexpr auto kAnywhere = ShellCommand::Needs::kNothing;
constexpr ShellCommand kCommands[] = {
    {.name = "open",
     .alias = "o",
     .arguments = {1, ShellCommand::kAnyNumber},
     .synopsis = "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
     .summary = "open the file specified by path",
     .details = kOpenDetails,
     .needs = kAnywhere,
     .run = run_open},
    {.name = "close", .alias = "c", .summary = "close the current open file", .run = run_close},
    {.name = "reopen",
     .arguments = {0, ShellCommand::kAnyNumber},
     .synopsis = "[(-r|-w)] [-c cache] [-o options]",
     .summary = "reopens an image with new options",
     .details = kReopenDetails,
     .run = run_reopen},
};

}  // namespace

std::span<const ShellCommand> image_commands() { return kCommands; }

}  // namespace ashlar::tools::io
