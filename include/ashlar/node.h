// A node of the graph as tools and the monitor see it. Frontends use a Backend instead.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ashlar/driver.h"

namespace ashlar {

class Backend;
class Graph;

/// One opened driver in the graph. Owned by the graph; alive while referenced (NodeRef, parents).
class Node {
 public:
  struct ChildLink {
    std::string name;
    ChildRole role;
    Node* node;
  };

  virtual ~Node() = default;
  virtual const std::string& name() const noexcept = 0;
  virtual const DriverSpec& spec() const noexcept = 0;
  virtual Driver& driver() const noexcept = 0;
  virtual const OpenFlags& flags() const noexcept = 0;
  /// As shown to users: a plain file name where one says it all, else json:{...}.
  virtual std::string filename() const = 0;
  virtual uint64_t size() const noexcept = 0;
  virtual NodeInfo info() const noexcept = 0;
  /// In the order they were opened.
  virtual std::vector<ChildLink> children() const = 0;
  /// The child with the role kBacking, or none.
  virtual Node* backing() const noexcept = 0;
  /// The child that this node's data comes from plainly: a filter's filtered child or a format's
  /// primary one.
  virtual Node* primary() const noexcept = 0;
  /// Sum over all parents.
  virtual Permissions used() const noexcept = 0;
};

/// Keeps a node open. Dropping the last reference of a node that no parent uses starts its close
/// on the control loop; Graph::settle() waits for that. Control loop only.
class NodeRef {
 public:
  NodeRef() = default;
  explicit NodeRef(Node* node);
  NodeRef(const NodeRef& other) : NodeRef(other.node_) {}
  NodeRef(NodeRef&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  NodeRef& operator=(NodeRef other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~NodeRef();
  Node* get() const noexcept { return node_; }
  Node& operator*() const noexcept { return *node_; }
  Node* operator->() const noexcept { return node_; }
  explicit operator bool() const noexcept { return node_ != nullptr; }

 private:
  Node* node_ = nullptr;
};

}  // namespace ashlar
