// The entry in the list of drivers: opening, names, and "creating" what a server has already.
#include "drivers/nbd/nbd.h"

#include <fmt/format.h>

#include <array>

#include "drivers/nbd/address.h"
#include "drivers/nbd/nbd_driver.h"
#include "drivers/nbd/nbd_options.h"

namespace ashlar {
namespace nbd::client {
namespace {

constexpr std::array kObjects{ObjectOption{.name = "server",
                                           .kind = ObjectOption::Kind::kSocketAddress,
                                           .need = ObjectOption::Need::kOptional}};

Task<Result<std::unique_ptr<Driver>>> open_nbd(OpenContext& context) {
  Result<Target> target = take_target(context.options(), context.credentials());
  if (!target) co_return fail(target.error());
  OptionDict naming = target->naming;
  auto pool = std::make_unique<Pool>(std::move(*target));
  Result<void> opened = co_await pool->open();
  if (!opened) co_return fail(opened.error());
  const Result<NodeInfo> info = node_info(pool->agreement());
  if (!info) opened = fail(info.error());
  if (opened) opened = check_writable(pool->agreement(), context.flags());
  if (!opened) {
    co_await pool->close();
    co_return fail(opened.error());
  }
  std::unique_ptr<Driver> driver =
      std::make_unique<NbdDriver>(std::move(pool), *info, std::move(naming));
  co_return std::move(driver);
}

struct NbdCreateOptions {
  uint64_t size = 0;
  static constexpr auto table() {
    return std::array{option("size", &NbdCreateOptions::size, "size of the image")};
  }
};

/// Nothing is made: the export has to be there, and large enough.
Task<Result<void>> create_on_server(std::string filename, OptionDict options) {
  Result<NbdCreateOptions> wanted = take_options<NbdCreateOptions>(options);
  if (!wanted) co_return fail(wanted.error());
  if (!options.empty()) {
    const std::string& key = options.entries().front().first;
    co_return fail(
        Error(ErrorCode::kInvalidArgument, fmt::format("nbd: no option is called \"{}\"", key))
            .because("option-unknown", {"nbd", key}));
  }
  Result<OptionDict> named = parse_name(filename);
  if (!named) co_return fail(named.error());
  const std::shared_ptr<const CredentialStore> nothing = no_credentials();
  Result<Target> target = take_target(*named, *nothing);
  if (!target) co_return fail(target.error());
  Pool pool(std::move(*target));
  Result<void> opened = co_await pool.open();
  if (!opened) co_return opened;
  const uint64_t size = pool.agreement().summary.size;
  if (size < wanted->size) {
    opened = fail(Error(ErrorCode::kInvalidArgument,
                        fmt::format("the export has {} bytes, {} are wanted", size, wanted->size))
                      .because("device-too-small"));
  }
  co_await pool.close();
  co_return opened;
}

}  // namespace
}  // namespace nbd::client

constinit const DriverSpec nbd_driver{
    .name = "nbd",
    .summary = "a disk that an NBD server exports",
    .kind = NodeKind::kStorage,
    .open = nbd::client::open_nbd,
    .open_options = describe_options<nbd::client::NbdOptions>,
    .objects = nbd::client::kObjects,
    .create_options = describe_options<nbd::client::NbdCreateOptions>,
    .filename_prefix = "nbd nbds",
    .parse_filename = nbd::client::parse_name,
    .create_file = nbd::client::create_on_server,
};

}  // namespace ashlar
