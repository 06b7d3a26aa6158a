// Matching names against rules, and rules that are kept in a file.
#include "async/authorization.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>

namespace ashlar {
namespace {

using Rules = AuthorizationRules;
using Format = Rules::Rule::Format;

constexpr std::array<std::string_view, 2> kPolicies{"deny", "allow"};
constexpr std::array<std::string_view, 2> kFormats{"exact", "glob"};

constexpr OptionDescription kRefreshRow{"refresh", OptionType::kSwitch,
                                        "read the file again when it has changed", "on"};
constexpr size_t kMostBytes = 1 << 20;

std::unexpected<Error> refuse_member(std::string message, std::string name) {
  return fail(Error(ErrorCode::kInvalidArgument, std::move(message))
                  .because("authz-member", {std::move(name)}));
}

/// Where the word of the member `name` is among `words`; empty: the member is not there.
Result<std::optional<size_t>> take_word(OptionDict& members, const std::string& name,
                                        const std::array<std::string_view, 2>& words) {
  const std::optional<std::string> word = members.take_text(name);
  if (!word) return std::nullopt;
  for (size_t at = 0; at < words.size(); ++at) {
    if (*word == words[at]) return at;
  }
  return refuse_member(
      fmt::format("\"{}\" is {} or {}, not \"{}\"", name, words[0], words[1], *word), name);
}

Result<Rules::Rule> take_rule(OptionDict members) {
  Rules::Rule rule;
  std::optional<std::string> match = members.take_text("match");
  const Result<std::optional<size_t>> policy = take_word(members, "policy", kPolicies);
  if (!policy) return fail(policy.error());
  const Result<std::optional<size_t>> format = take_word(members, "format", kFormats);
  if (!format) return fail(format.error());
  if (!match) return refuse_member("a rule needs \"match\"", "match");
  if (!*policy) return refuse_member("a rule needs \"policy\"", "policy");
  if (!members.empty()) {
    const std::string& name = members.entries()[0].first;
    return refuse_member(fmt::format("a rule has no \"{}\"", name), name);
  }
  rule.match = std::move(*match);
  rule.policy = **policy == 1 ? Rules::Policy::kAllow : Rules::Policy::kDeny;
  rule.format = *format == size_t{1} ? Format::kGlob : Format::kExact;
  return rule;
}

/// Goes back to the last '*' only: never more than pattern times text steps.
bool matches_glob(std::string_view pattern, std::string_view text) {
  size_t at = 0;
  size_t next = 0;
  size_t star = pattern.npos;
  size_t star_text = 0;
  while (next < text.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      star_text = next;
    } else if (at < pattern.size() && (pattern[at] == '?' || pattern[at] == text[next])) {
      ++at;
      ++next;
    } else if (star != pattern.npos) {
      at = star + 1;
      next = ++star_text;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', at) == pattern.npos;
}

Result<void> check_empty(const OptionDict& members) {
  if (members.empty()) return ok();
  const std::string& name = members.entries()[0].first;
  return refuse_member(fmt::format("an authorization has no \"{}\"", name), name);
}

class Simple final : public Authorization {
 public:
  explicit Simple(std::string identity) : identity_(std::move(identity)) {}
  bool allows(std::string_view name) override { return name == identity_; }

 private:
  const std::string identity_;
};

class List final : public Authorization {
 public:
  explicit List(Rules rules) : rules_(std::move(rules)) {}
  bool allows(std::string_view name) override { return rules_.allow(name); }

 private:
  const Rules rules_;
};

/// Tells one state of a file from another.
struct FileStamp {
  timespec changed{};
  ino_t inode = 0;
  off_t size = -1;
  bool operator==(const FileStamp& other) const {
    return changed.tv_sec == other.changed.tv_sec && changed.tv_nsec == other.changed.tv_nsec &&
           inode == other.inode && size == other.size;
  }
};

FileStamp stamp_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_ctim, status.st_ino, status.st_size};
}

class ListFile final : public Authorization {
 public:
  enum class Refresh : uint8_t { kNever, kWhenChanged };
  ListFile(std::string path, Refresh refresh) : path_(std::move(path)), refresh_(refresh) {}

  Result<void> load() {
    rules_.reset();
    stamp_ = stamp_of(path_);
    Result<Rules> read = this->read();
    if (!read) return fail(read.error().because("authz-file", {path_}).within("read", path_));
    rules_ = std::move(*read);
    return ok();
  }
  bool allows(std::string_view name) override {
    if (refresh_ == Refresh::kWhenChanged && stamp_of(path_) != stamp_) (void)load();
    return rules_ && rules_->allow(name);
  }

 private:
  Result<Rules> read() const {
    errno = 0;
    std::ifstream file(path_, std::ios::binary);
    std::string text(kMostBytes + 1, '\0');
    if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!file && !file.eof()) {
      const ErrorCode code = errno == EACCES ? ErrorCode::kPermission : ErrorCode::kNotFound;
      return fail(code, std::strerror(errno));
    }
    text.resize(static_cast<size_t>(file.gcount()));
    if (text.size() > kMostBytes) {
      return fail(ErrorCode::kTooLarge, fmt::format("more than {} bytes", kMostBytes));
    }
    Result<OptionDict> members = OptionDict::parse_json(text);
    if (!members) return fail(members.error());
    Result<Rules> rules = Rules::take(*members);
    if (!rules) return rules;
    if (Result<void> all = check_empty(*members); !all) return fail(all.error());
    return rules;
  }

  const std::string path_;
  const Refresh refresh_;
  FileStamp stamp_;
  std::optional<Rules> rules_;
};

Result<std::unique_ptr<Authorization>> make_simple(OptionDict& members) {
  std::optional<std::string> identity = members.take_text("identity");
  if (!identity) return refuse_member("authz-simple needs \"identity\"", "identity");
  return std::make_unique<Simple>(std::move(*identity));
}

Result<std::unique_ptr<Authorization>> make_list(OptionDict& members) {
  Result<Rules> rules = Rules::take(members);
  if (!rules) return fail(rules.error());
  return std::make_unique<List>(std::move(*rules));
}

Result<std::unique_ptr<Authorization>> make_list_file(OptionDict& members) {
  std::optional<std::string> path = members.take_text("filename");
  if (!path) return refuse_member("authz-list-file needs \"filename\"", "filename");
  bool refresh = true;
  if (const OptionValue* value = members.find(kRefreshRow.name)) {
    const Result<bool> given = option_switch(kRefreshRow, *value);
    if (!given) return fail(given.error());
    refresh = *given;
    members.erase(kRefreshRow.name);
  }
  auto made = std::make_unique<ListFile>(
      std::move(*path), refresh ? ListFile::Refresh::kWhenChanged : ListFile::Refresh::kNever);
  if (Result<void> loaded = made->load(); !loaded) return fail(loaded.error());
  return made;
}

}  // namespace

Result<AuthorizationRules> AuthorizationRules::take(OptionDict& members) {
  AuthorizationRules taken;
  const Result<std::optional<size_t>> policy = take_word(members, "policy", kPolicies);
  if (!policy) return fail(policy.error());
  if (*policy == size_t{1}) taken.otherwise = Policy::kAllow;
  OptionDict list = members.take_subtree("rules");
  for (size_t at = 0; !list.empty(); ++at) {
    const std::string index = std::to_string(at);
    if (!list.has_subtree(index)) return refuse_member("\"rules\" is a list of rules", "rules");
    if (at == kMostRules) {
      return refuse_member(fmt::format("\"rules\" has more than {} rules", kMostRules), "rules");
    }
    Result<Rule> rule = take_rule(list.take_subtree(index));
    if (!rule) return fail(rule.error().within("rule", index));
    taken.rules.push_back(std::move(*rule));
  }
  return taken;
}

bool AuthorizationRules::allow(std::string_view name) const {
  for (const Rule& rule : rules) {
    const bool matches =
        rule.format == Format::kGlob ? matches_glob(rule.match, name) : rule.match == name;
    if (matches) return rule.policy == Policy::kAllow;
  }
  return otherwise == Policy::kAllow;
}

bool Authorization::is_type(std::string_view type) {
  return type == "authz-simple" || type == "authz-list" || type == "authz-list-file";
}

Result<std::unique_ptr<Authorization>> Authorization::make(std::string_view type,
                                                           OptionDict members) {
  Result<std::unique_ptr<Authorization>> made =
      type == "authz-simple" ? make_simple(members)
      : type == "authz-list" ? make_list(members)
      : type == "authz-list-file"
          ? make_list_file(members)
          : fail(Error(ErrorCode::kInvalidArgument, fmt::format("authorizations are of type "
                                                                "authz-simple, authz-list or "
                                                                "authz-list-file, not \"{}\"",
                                                                type))
                     .because("authz-type", {std::string(type)}));
  if (!made) return made;
  if (Result<void> all = check_empty(members); !all) return fail(all.error());
  return made;
}

}  // namespace ashlar
