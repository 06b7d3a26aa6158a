// How operations are filled in.
#include "async/io_operation.h"

namespace ashlar {

IoOperation IoOperation::read(int fd, const iovec* vectors, unsigned count, uint64_t offset) {
  IoOperation operation;
  operation.kind = Kind::kRead;
  operation.fd = fd;
  operation.vectors = vectors;
  operation.count = count;
  operation.offset = offset;
  return operation;
}

IoOperation IoOperation::write(int fd, const iovec* vectors, unsigned count, uint64_t offset) {
  IoOperation operation = read(fd, vectors, count, offset);
  operation.kind = Kind::kWrite;
  return operation;
}

IoOperation IoOperation::data_sync(int fd) {
  IoOperation operation;
  operation.kind = Kind::kDataSync;
  operation.fd = fd;
  return operation;
}

IoOperation IoOperation::allocate(int fd, int mode, uint64_t offset, uint64_t length) {
  IoOperation operation;
  operation.kind = Kind::kAllocate;
  operation.fd = fd;
  operation.flags = mode;
  operation.offset = offset;
  operation.length = length;
  return operation;
}

IoOperation IoOperation::timer(uint64_t deadline_ns) {
  IoOperation operation;
  operation.kind = Kind::kTimer;
  operation.offset = deadline_ns;
  return operation;
}

IoOperation IoOperation::poll(int fd, short events) {
  IoOperation operation;
  operation.kind = Kind::kPoll;
  operation.fd = fd;
  operation.flags = events;
  return operation;
}

IoOperation IoOperation::accept(int fd) {
  IoOperation operation;
  operation.kind = Kind::kAccept;
  operation.fd = fd;
  return operation;
}

IoOperation IoOperation::connect(int fd, msghdr& address) {
  IoOperation operation = receive(fd, address);
  operation.kind = Kind::kConnect;
  return operation;
}

IoOperation IoOperation::receive(int fd, msghdr& message, int flags) {
  IoOperation operation;
  operation.kind = Kind::kReceive;
  operation.fd = fd;
  operation.message = &message;
  operation.flags = flags;
  return operation;
}

IoOperation IoOperation::send(int fd, msghdr& message, int flags) {
  IoOperation operation = receive(fd, message, flags);
  operation.kind = Kind::kSend;
  return operation;
}

IoOperation IoOperation::cancel(IoOperation& target) {
  IoOperation operation;
  operation.kind = Kind::kCancel;
  operation.target = &target;
  return operation;
}

IoOperation IoOperation::signal(int fd) {
  IoOperation operation;
  operation.kind = Kind::kSignal;
  operation.fd = fd;
  return operation;
}

}  // namespace ashlar
