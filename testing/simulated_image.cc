// Opening and closing images on simulated disks.
#include "testing/simulated_image.h"

#include <fmt/format.h>

#include <array>

#include "formats/qcow2/qcow2.h"
#include "testing/simulated_driver.h"

namespace ashlar {

namespace {

const std::array<const DriverSpec*, 2> kDrivers{&qcow2_driver, &simulated_disk_driver};

std::shared_ptr<SimulatedDisk> disk_of(const std::optional<SparseBytes>& content) {
  return content ? std::make_shared<SimulatedDisk>(*content) : nullptr;
}

}  // namespace

SimulatedImage::SimulatedImage(const Setup& setup, ImageFiles files)
    : setup_(setup),
      runtime_(setup.seed, setup.loops),
      disk_(std::make_shared<SimulatedDisk>(std::move(files.image))),
      backing_(disk_of(files.backing)),
      data_(disk_of(files.data_file)) {
  runtime_.attach_disk("image", disk_);
  if (backing_ != nullptr) runtime_.attach_disk("backing", backing_);
  if (data_ != nullptr) runtime_.attach_disk("data", data_);
}

SimulatedImage::~SimulatedImage() = default;

OptionDict SimulatedImage::options() const {
  OptionDict options = *OptionDict::parse_key_value(setup_.format_options);
  options.set("driver", "qcow2");
  if (options.find("discard") == nullptr) options.set("discard", "unmap");
  const auto add = [&](const std::string& child, const std::string& disk) {
    options.set(child + ".driver", "simulated-disk");
    options.set(child + ".disk", disk);
    options.set(child + ".request-alignment", std::to_string(setup_.disk_alignment));
    options.set(child + ".longest-ns", std::to_string(setup_.longest_ns));
  };
  add("file", "image");
  if (backing_ != nullptr) add("backing", "backing");
  if (data_ != nullptr) add("data-file", "data");
  return options;
}

Task<Result<void>> SimulatedImage::open() {
  Graph::Options with;
  with.drivers = kDrivers;
  graph_ = std::make_unique<Graph>(runtime_, std::move(with));
  Result<NodeRef> node = co_await graph_->open(options());
  if (!node) {
    static_cast<void>(co_await graph_->close());
    graph_.reset();
    co_return fail(node.error());
  }
  backend_ = *graph_->create_backend();
  Result<void> done = co_await backend_->insert_medium(std::move(*node));
  if (!done) co_return done;
  const Permissions used = Permission::kConsistentRead | Permission::kWrite;
  co_return backend_->set_permissions(used, Permissions::all());
}

Task<Result<void>> SimulatedImage::close() {
  if (graph_ == nullptr) co_return ok();
  Result<void> done = co_await backend_->eject_medium(Backend::Eject::kForce);
  backend_ = BackendRef();
  Result<void> closed = co_await graph_->close();
  graph_.reset();
  co_return done ? closed : done;
}

Qcow2Audit::Beside SimulatedImage::beside() const {
  Qcow2Audit::Beside beside;
  if (backing_ != nullptr) beside.backing = &backing_->content();
  if (data_ != nullptr) beside.data_file = &data_->content();
  return beside;
}

std::string SimulatedImage::describe() const {
  return fmt::format("seed {}, {} loops, disk of {}-byte blocks, options \"{}\"", setup_.seed,
                     setup_.loops, setup_.disk_alignment, setup_.format_options);
}

}  // namespace ashlar
