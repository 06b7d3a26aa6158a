// What a driver sees of the graph while it opens.
#pragma once

#include <string>

#include "ashlar/driver.h"
#include "graph/open.h"

namespace ashlar {

struct OpenContextSetup {
  NodeRef probed_file;  ///< the child "file", when it is open already
  unsigned nesting = 0;
  ChainSoFar* chain = nullptr;
};

class NodeOpenContext final : public OpenContext {
 public:
  NodeOpenContext(OpenSession& session, GraphNode& node, OptionDict& options,
                  OpenContextSetup setup)
      : session_(session), node_(node), options_(options), setup_(std::move(setup)) {}

  OptionDict& options() override { return options_; }
  const OpenFlags& flags() const override { return node_.flags(); }
  NodeHost& host() override { return node_; }
  const CredentialStore& credentials() const override { return session_.graph().credentials(); }
  const ThrottleGroupStore& throttle_groups() const override {
    return session_.graph().throttle_groups();
  }
  Task<Result<Child*>> open_child(std::string name, ChildRole role) override;
  Task<Result<Child*>> open_reference(std::string name, ChildRole role,
                                      Reference reference) override;

 private:
  TreeRequest request_for(ChildRole role) const;
  Result<Child*> attach(std::string name, ChildRole role, Result<NodeRef> opened);

  OpenSession& session_;
  GraphNode& node_;
  OptionDict& options_;
  OpenContextSetup setup_;
};

}  // namespace ashlar
