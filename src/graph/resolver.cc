// The two resolvers of what images name: one refuses, one follows.
#include "ashlar/graph.h"
#include "graph/filename.h"

namespace ashlar {

namespace {

class Refuse final : public ReferenceResolver {
 public:
  Result<std::optional<OptionDict>> resolve(const Reference& reference,
                                            const std::string& image) override {
    const char* what = reference.kind == Reference::Kind::kBacking ? "backing" : "data file";
    return fail(Error(ErrorCode::kPermission, "image \"" + image + "\" names \"" + reference.name +
                                                  "\" as its " + what +
                                                  ", and nothing allows to open it")
                    .because("reference-refused", {image, reference.name}));
  }
};

class Follow final : public ReferenceResolver {
 public:
  Result<std::optional<OptionDict>> resolve(const Reference& reference,
                                            const std::string& image) override {
    constexpr std::string_view kJson = "json:";
    OptionDict options;
    if (reference.name.starts_with(kJson)) {
      Result<OptionDict> parsed = OptionDict::parse_json(reference.name.substr(kJson.size()));
      if (!parsed) return fail(parsed.error());
      options = std::move(*parsed);
    } else {
      Result<std::string> name = resolve_beside(reference.name, image);
      if (!name) return fail(name.error());
      options.set("filename", *name);
    }
    if (!reference.format.empty()) options.set("driver", reference.format);
    return options;
  }
};

}  // namespace

std::unique_ptr<ReferenceResolver> refuse_references() { return std::make_unique<Refuse>(); }
std::unique_ptr<ReferenceResolver> follow_references() { return std::make_unique<Follow>(); }

}  // namespace ashlar
