// Answers to the kernel: from libfuse's calls to the exported file, and back.
#include "exports/fuse/requests.h"

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <span>

#include "base/checked.h"
#include "exports/fuse/connection.h"

namespace ashlar::fuse {
namespace {

/// How long the kernel may keep what it knows; it is told of changes.
constexpr double kAttributesHold = 1.0;
constexpr uint64_t kNanoseconds = 1'000'000'000;
constexpr uint64_t kBlock = 4096;
/// Requests of asynchronous clients that the kernel passes on at once.
constexpr unsigned kMaxBackground = 256;

Connection& connection_of(fuse_req_t request) {
  return *static_cast<Connection*>(fuse_req_userdata(request));
}

void reply(fuse_req_t request, const Result<void>& done) {
  fuse_reply_err(request, done ? 0 : done.error().os_error());
}

void start(fuse_req_t request, Task<void> answer) {
  connection_of(request).channel_here().serve(std::move(answer));
}

/// Offsets and lengths come as signed numbers, which the kernel keeps at or above zero.
ByteRange range_of(off_t offset, uint64_t length) {
  return {static_cast<uint64_t>(offset), length};
}

struct stat attributes_of(const ExportedFile& file) {
  const FileStatus status = file.status();
  struct stat attributes{};
  attributes.st_ino = FUSE_ROOT_ID;
  attributes.st_mode = S_IFREG | status.permissions;
  attributes.st_nlink = 1;
  attributes.st_uid = status.user;
  attributes.st_gid = status.group;
  attributes.st_size = static_cast<off_t>(status.size);
  attributes.st_blocks = static_cast<blkcnt_t>(divide_up(status.allocated, 512));
  attributes.st_blksize = kBlock;
  attributes.st_mtim.tv_sec = static_cast<time_t>(status.changed_ns / kNanoseconds);
  attributes.st_mtim.tv_nsec = static_cast<long>(status.changed_ns % kNanoseconds);
  attributes.st_atim = attributes.st_mtim;
  attributes.st_ctim = attributes.st_mtim;
  return attributes;
}

void reply_attributes(fuse_req_t request) {
  const struct stat attributes = attributes_of(connection_of(request).file());
  fuse_reply_attr(request, &attributes, kAttributesHold);
}

// --- What needs time: one coroutine each, on the loop that received it.

Task<void> answer_read(fuse_req_t request, ByteRange range) {
  Connection& connection = connection_of(request);
  const Block block = co_await connection.channel_here().blocks().take(range.length);
  const MutableBuffers into(block.data(), range.length);
  const Result<size_t> count = co_await connection.file().read(range, into);
  if (count) {
    fuse_reply_buf(request, reinterpret_cast<const char*>(block.data()), *count);
  } else {
    fuse_reply_err(request, count.error().os_error());
  }
}

Task<void> answer_write(fuse_req_t request, ByteRange range, Block data) {
  const ConstBuffers from(data.data(), range.length);
  const Result<size_t> count = co_await connection_of(request).file().write(range, from);
  data = Block();  // before the client goes on and sends more
  if (count) {
    fuse_reply_write(request, *count);
  } else {
    fuse_reply_err(request, count.error().os_error());
  }
}

Task<void> answer_flush(fuse_req_t request) {
  const Result<void> done = co_await connection_of(request).file().flush();
  reply(request, done);
}

Task<void> answer_allocate(fuse_req_t request, ExportedFile::Allocation how, ByteRange range) {
  const Result<void> done = co_await connection_of(request).file().allocate(how, range);
  reply(request, done);
}

Task<void> answer_seek(fuse_req_t request, uint64_t offset, ExportedFile::Seek what) {
  const auto cancelled = [request] { return fuse_req_interrupted(request) != 0; };
  const Result<uint64_t> found =
      co_await connection_of(request).file().seek(offset, what, cancelled);
  if (found) {
    fuse_reply_lseek(request, static_cast<off_t>(*found));
  } else {
    fuse_reply_err(request, found.error().os_error());
  }
}

struct AttributeChange {
  int which = 0;
  struct stat to{};
};

Task<Result<void>> change_attributes(ExportedFile& file, const AttributeChange& change) {
  constexpr int kKnown = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
                         FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_CTIME;
  if ((change.which & ~kKnown) != 0) {
    co_return fail(Error::from_errno(EOPNOTSUPP, "set the times of the file"));
  }
  Result<void> done = ok();
  if ((change.which & FUSE_SET_ATTR_MODE) != 0) done = file.change_permissions(change.to.st_mode);
  if (done && (change.which & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
    std::optional<uint32_t> user;
    std::optional<uint32_t> group;
    if ((change.which & FUSE_SET_ATTR_UID) != 0) user = change.to.st_uid;
    if ((change.which & FUSE_SET_ATTR_GID) != 0) group = change.to.st_gid;
    done = file.change_owner(user, group);
  }
  if (done && (change.which & FUSE_SET_ATTR_SIZE) != 0) {
    done = co_await file.truncate(static_cast<uint64_t>(change.to.st_size));
  }
  co_return done;
}

Task<void> answer_set_attributes(fuse_req_t request, AttributeChange change) {
  const Result<void> done = co_await change_attributes(connection_of(request).file(), change);
  if (done) {
    reply_attributes(request);
  } else {
    fuse_reply_err(request, done.error().os_error());
  }
}

// --- What libfuse calls.

void initialise(void*, fuse_conn_info* kernel) {
  kernel->max_write = kMaxData;
  kernel->max_read = kMaxData;
  kernel->max_background = kMaxBackground;
  kernel->congestion_threshold = kMaxBackground / 4 * 3;
  kernel->time_gran = 1;
  // Written data goes down at once: other users of the backend see it, and a flush is the client's.
  // Data moves between the kernel and memory, where the layers below take it from: no pipes.
  kernel->want &= ~unsigned{FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ |
                            FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE};
  const unsigned wanted =
      FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC;
  kernel->want |= kernel->capable & wanted;
}

void get_attributes(fuse_req_t request, fuse_ino_t, fuse_file_info* opened) {
  // An open file asks before it reads from the page cache: only so does it hear that there is
  // nothing to read from. Who only looks sees an empty file.
  if (opened != nullptr && !connection_of(request).file().has_medium()) {
    fuse_reply_err(request, ENOMEDIUM);
  } else {
    reply_attributes(request);
  }
}

void set_attributes(fuse_req_t request, fuse_ino_t, struct stat* to, int which, fuse_file_info*) {
  const AttributeChange change{.which = which, .to = *to};
  start(request, answer_set_attributes(request, change));
}

void open_file(fuse_req_t request, fuse_ino_t, fuse_file_info* opened) {
  // The kernel would answer reads of an empty file itself: without a medium they must come here.
  opened->direct_io = connection_of(request).file().has_medium() ? 0 : 1;
  // O_TRUNC comes with the open, and changes nothing: a disk is not emptied by being opened.
  opened->fh = (opened->flags & O_ACCMODE) == O_RDONLY ? 0 : 1;
  fuse_reply_open(request, opened);
}

void read_data(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
  const ByteRange range = range_of(offset, std::min(size, kMaxData));
  start(request, answer_read(request, range));
}

void write_data(fuse_req_t request, std::span<const char> data, off_t offset) {
  Block kept = connection_of(request).channel_here().keep_data(std::as_bytes(data));
  start(request, answer_write(request, range_of(offset, data.size()), std::move(kept)));
}

/// On every close of a descriptor; only who could write has something to flush.
void flush_file(fuse_req_t request, fuse_ino_t, fuse_file_info* opened) {
  if (opened->fh == 0 || !connection_of(request).file().has_medium()) {
    fuse_reply_err(request, 0);
  } else {
    start(request, answer_flush(request));
  }
}

void sync_file(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
  start(request, answer_flush(request));
}

void get_file_system(fuse_req_t request, fuse_ino_t) {
  struct statvfs facts{};
  facts.f_bsize = kBlock;
  facts.f_frsize = kBlock;
  facts.f_blocks = divide_up(connection_of(request).file().status().size, kBlock);
  facts.f_namemax = 255;
  fuse_reply_statfs(request, &facts);
}

void allocate(fuse_req_t request, int mode, ByteRange range) {
  using Allocation = ExportedFile::Allocation;
  std::optional<Allocation> how;
  if (mode == 0) how = Allocation::kReserve;
  if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) how = Allocation::kPunch;
  if (mode == FALLOC_FL_ZERO_RANGE) how = Allocation::kZero;
  if (mode == (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)) how = Allocation::kZeroKeepSize;
  if (!how) {
    fuse_reply_err(request, EOPNOTSUPP);
    return;
  }
  start(request, answer_allocate(request, *how, range));
}

void seek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info*) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  const auto what = whence == SEEK_DATA ? ExportedFile::Seek::kData : ExportedFile::Seek::kHole;
  start(request, answer_seek(request, static_cast<uint64_t>(offset), what));
}

fuse_lowlevel_ops make_table() {
  fuse_lowlevel_ops table{};
  table.init = initialise;
  table.getattr = get_attributes;
  table.setattr = set_attributes;
  table.open = open_file;
  table.read = read_data;
  table.write = [](fuse_req_t request, fuse_ino_t, const char* data, size_t size, off_t offset,
                   fuse_file_info*) { write_data(request, {data, size}, offset); };
  table.flush = flush_file;
  table.fsync = sync_file;
  table.statfs = get_file_system;
  table.fallocate = [](fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length,
                       fuse_file_info*) {
    allocate(request, mode, range_of(offset, static_cast<uint64_t>(length)));
  };
  table.lseek = seek;
  return table;
}

}  // namespace

const fuse_lowlevel_ops& request_table() noexcept {
  static const fuse_lowlevel_ops table = make_table();
  return table;
}

}  // namespace ashlar::fuse
