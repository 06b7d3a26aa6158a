// The graph of nodes: opening, finding, changing and closing them. Lives on the control loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ashlar/backend.h"
#include "ashlar/credentials.h"
#include "ashlar/driver.h"
#include "ashlar/error.h"
#include "ashlar/loop.h"
#include "ashlar/node.h"
#include "ashlar/options.h"
#include "ashlar/throttle.h"

namespace ashlar {

/// Decides whether something an image names may be opened, and how.
class ReferenceResolver {
 public:
  virtual ~ReferenceResolver() = default;
  /// The options to open `reference` of the image called `image` with; empty: leave it closed;
  /// an error: refuse to open the image.
  virtual Result<std::optional<OptionDict>> resolve(const Reference& reference,
                                                    const std::string& image) = 0;
};
/// Refuses everything: the library's default. Reason "reference-refused".
std::unique_ptr<ReferenceResolver> refuse_references();
/// Opens what images name, relative names beside the image: for tools that trust their input.
std::unique_ptr<ReferenceResolver> follow_references();

/// What bounds a graph.
struct GraphLimits {
  uint64_t metadata_cache_bytes = 32_MiB;  ///< of resident format metadata, per node
  uint64_t buffer_bytes = 16_MiB;          ///< of working buffers, per node
  unsigned chain_depth = 1000;             ///< layers of one backing chain
  unsigned nodes = 10000;
};

/// Owns nodes and knows all backends. Several can live in one process.
class Graph {
 public:
  struct Options {
    std::span<const DriverSpec* const> drivers;   ///< e.g. builtin_drivers()
    std::unique_ptr<ReferenceResolver> resolver;  ///< empty: refuse_references()
    GraphLimits limits{};
    /// Secrets and TLS credentials for drivers; empty: no_credentials().
    std::shared_ptr<const CredentialStore> credentials{};
    std::shared_ptr<const ThrottleGroupStore> throttle_groups{};  ///< empty: none
  };
  Graph(Runtime& runtime, Options options);
  ~Graph();
  Graph(const Graph&) = delete;

  /// Opens a tree. `options` has "driver" and whatever it and its children take; generic ones are
  /// node-name, read-only, auto-read-only, force-share, discard, detect-zeroes, cache.direct,
  /// cache.no-flush, backing. `flags` are the defaults for those. The returned reference keeps it.
  /// Errors: any of the drivers'; nothing stays open after one.
  Task<Result<NodeRef>> open(OptionDict options, OpenFlags flags = {});

  /// open() for a file name as users type it: a path, `prefix:...`, or `json:{...}`.
  /// Without `format` the format is probed.
  struct Image {
    std::string filename;
    std::optional<std::string> format;
    OptionDict options;  ///< further options of the format node
    OpenFlags flags;
  };
  Task<Result<NodeRef>> open_image(Image image);

  /// The options that open_image() would use, with the format probed.
  Task<Result<OptionDict>> image_options(const Image& image);

  Node* find_node(std::string_view name) const;
  std::vector<Node*> nodes() const;
  /// Closes a node that was opened by itself and that nobody uses. Its name is free at once;
  /// references that are left keep only its shell. Errors: kNotFound, kBusy naming a user.
  Task<Result<void>> remove_node(std::string_view name);

  /// Puts `replacement` in `old`'s place under every parent; those that `replacement` is made of
  /// stay, so that a filter on top of `old` can be put in its place.
  Task<Result<void>> replace_node(Node& old, NodeRef replacement);
  /// Changes options of opened nodes, all or none. Each has "node-name".
  Task<Result<void>> reopen(std::vector<OptionDict> changes);
  /// Attaches or detaches (empty) the backing child.
  Task<Result<void>> set_backing(Node& overlay, NodeRef backing);

  /// A new backend without a medium. An empty name: anonymous.
  /// Errors: kInvalidArgument for a malformed name, kExists when a backend or node has it.
  Result<BackendRef> create_backend(std::string_view name = {});
  BackendRef find_backend(std::string_view name) const;
  /// All named backends in order of creation.
  std::vector<BackendRef> backends() const;

  /// Creates an image of `format` in `filename`. `options` has "size" and the format's options.
  Task<Result<void>> create_image(std::string filename, std::string format, OptionDict options);

  const DriverSpec* find_driver(std::string_view name) const;
  std::span<const DriverSpec* const> drivers() const;
  Runtime& runtime() const;
  const GraphLimits& limits() const;

  /// Waits for closes that dropped references have started.
  Task<void> settle();
  /// Flushes and empties every backend and closes every node; the first error is returned.
  /// Must be awaited before destruction.
  Task<Result<void>> close();

 private:
  friend class GraphAccess;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ashlar
