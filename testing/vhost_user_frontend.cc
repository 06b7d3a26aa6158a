// The frontend's messages and its guest's requests.
#include "testing/vhost_user_frontend.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ashlar/stream.h"
#include "base/endian.h"

namespace ashlar::vhost {

Frontend::~Frontend() = default;

Task<Result<void>> Frontend::connect(std::string path) {
  Result<std::unique_ptr<Stream>> stream =
      co_await connect_stream(SocketAddress::unix_socket(std::move(path)));
  if (!stream) co_return fail(stream.error());
  Result<DescriptorSocket> socket = DescriptorSocket::under(std::move(*stream));
  if (!socket) co_return fail(socket.error());
  socket_ = std::move(*socket);
  const Result<uint64_t> offered = co_await ask_number(Request::kGetFeatures);
  if (!offered) co_return fail(offered.error());
  features_ = *offered & ~options_.without;
  const Result<uint64_t> protocol = co_await ask_number(Request::kGetProtocolFeatures);
  if (!protocol) co_return fail(protocol.error());
  Result<void> sent = co_await send(Request::kSetProtocolFeatures,
                                    encode_number(*protocol & ~options_.without_protocol));
  if (!sent) co_return sent;
  sent = co_await command(Request::kSetOwner, {});
  if (!sent) co_return sent;
  if ((options_.without_protocol & bit(ProtocolFeature::kBackendRequests)) == 0) {
    auto ends = DescriptorSocket::pair();
    if (!ends) co_return fail(ends.error());
    news_ = std::move(ends->first);
    const std::vector<int> theirs{ends->second.descriptor().get()};
    sent = co_await command(Request::kSetBackendChannel, {}, theirs);
    if (!sent) co_return sent;
  }
  co_return co_await command(Request::kSetFeatures, encode_number(features_));
}

Task<Result<void>> Frontend::open(std::string path) {
  Result<void> connected = co_await connect(std::move(path));
  if (!connected) co_return connected;
  co_return co_await start();
}

Task<Result<void>> Frontend::make_memory() {
  auto made = options_.sealed ? SharedMemory::create("guest", options_.memory)
                              : SharedMemory::create_unsealed("guest", options_.memory);
  if (!made) co_return fail(made.error());
  memory_ = std::move(made->first);
  memory_file_ = std::move(made->second);
  co_return ok();
}

uint64_t Frontend::allocate(uint64_t size) {
  const uint64_t at = align_up(allocated_, 4096);
  allocated_ = at + size;
  assert(allocated_ <= options_.memory);
  return at;
}

Task<Result<void>> Frontend::make_queues() {
  for (uint16_t index = 0; index < options_.queues; ++index) {
    GuestRing::Setup setup;
    setup.memory = memory_->bytes();
    setup.base = allocate(GuestRing::size_for(options_.queue_size));
    setup.size = options_.queue_size;
    setup.events = (features_ & bit(kRingEventIndex)) != 0 ? SplitRing::Events::kIndex
                                                           : SplitRing::Events::kFlags;
    auto queue = std::make_unique<GuestQueue>(setup);
    queue->waiting.resize(options_.queue_size);
    const uint64_t room = options_.memory / (uint64_t{options_.queues} * 2) / kSlot;
    for (uint64_t slot = 0; slot < std::min<uint64_t>(room, options_.queue_size); ++slot) {
      queue->free_slots.push_back(allocate(kSlot));
    }
    queues_.push_back(std::move(queue));
  }
  co_return ok();
}

Region Frontend::whole_memory() const {
  Region region;
  region.size = options_.memory;
  region.user_address = kUserBase;
  return region;
}

Task<Result<void>> Frontend::share_memory() {
  const std::vector<int> file{memory_file_.get()};
  const Region region = whole_memory();
  if (options_.by_region) {
    co_return co_await command(Request::kAddMemoryRegion, encode_memory_region(region), file);
  }
  co_return co_await command(Request::kSetMemoryTable, encode_memory_table(std::span(&region, 1)),
                             file);
}

Task<Result<void>> Frontend::set_in_flight() {
  if (!in_flight_) {
    InFlightArea wanted;
    wanted.queues = options_.queues;
    wanted.queue_size = options_.queue_size;
    Result<Answer> answer = co_await ask(Request::kGetInFlight, encode_in_flight(wanted));
    if (!answer) co_return fail(answer.error());
    in_flight_area_ = *Payload(answer->payload).in_flight();
    if (answer->descriptors.size() != 1) {
      co_return fail(ErrorCode::kIo, "no memory came for requests in flight");
    }
    in_flight_ = std::move(answer->descriptors.front());
    const ByteRange part(in_flight_area_.offset, in_flight_area_.size);
    Result<SharedMemory> mapped = SharedMemory::map(in_flight_, part);
    if (!mapped) co_return fail(mapped.error());
    log_ = std::move(*mapped);
  }
  const std::vector<int> file{in_flight_.get()};
  co_return co_await command(Request::kSetInFlight, encode_in_flight(in_flight_area_), file);
}

Task<Result<void>> Frontend::start() {
  Result<void> done = ok();
  if (!memory_) {
    done = co_await make_memory();
    if (done) done = co_await make_queues();
    if (!done) co_return done;
  }
  done = co_await share_memory();
  if (done && (options_.without_protocol & bit(ProtocolFeature::kInFlight)) == 0) {
    done = co_await set_in_flight();
  }
  for (uint16_t index = 0; done && index < options_.queues; ++index) {
    done = co_await start_queue(index);
  }
  co_return done;
}

Task<Result<void>> Frontend::start_queue(uint16_t index) {
  GuestQueue& queue = *queues_[index];
  co_await quieten(queue);
  Result<OwnedDescriptor> kick = create_event();
  Result<OwnedDescriptor> call = create_event();
  Result<OwnedDescriptor> error = create_event();
  if (!kick || !call || !error) co_return fail(ErrorCode::kIo, "no events are left");
  queue.kick = std::move(*kick);
  queue.call = std::move(*call);
  queue.error = std::move(*error);
  RingState state;
  state.index = index;
  state.number = options_.queue_size;
  Result<void> done = co_await command(Request::kSetRingSize, encode_ring_state(state));
  if (!done) co_return done;
  state.number = queue.ring.used_index();
  done = co_await command(Request::kSetRingBase, encode_ring_state(state));
  if (!done) co_return done;
  RingAddresses addresses;
  addresses.index = index;
  addresses.descriptors = kUserBase + queue.ring.descriptors_at();
  addresses.available = kUserBase + queue.ring.available_at();
  addresses.used = kUserBase + queue.ring.used_at();
  done = co_await command(Request::kSetRingAddresses, encode_ring_addresses(addresses));
  if (!done) co_return done;
  RingEvent event;
  event.index = index;
  const std::array<std::pair<Request, int>, 3> events{{{Request::kSetRingCall, queue.call.get()},
                                                       {Request::kSetRingError, queue.error.get()},
                                                       {Request::kSetRingKick, queue.kick.get()}}};
  for (const auto& [request, fd] : events) {
    const std::vector<int> descriptors{fd};
    done = co_await command(request, encode_ring_event(event), descriptors);
    if (!done) co_return done;
  }
  co_await queue.kicker.set(*duplicate(queue.kick));
  queue.called.set(*duplicate(queue.call));
  queue.pump.spawn(pump(queue));
  state.number = 1;
  if ((features_ & bit(kProtocolFeatures)) == 0) co_return ok();
  co_return co_await command(Request::kSetRingEnable, encode_ring_state(state));
}

Task<Result<uint16_t>> Frontend::stop_queue(uint16_t index) {
  RingState state;
  state.index = index;
  Result<Answer> answer = co_await ask(Request::kGetRingBase, encode_ring_state(state));
  if (!answer) co_return fail(answer.error());
  const Result<RingState> at = Payload(answer->payload).ring_state();
  if (!at) co_return fail(at.error());
  co_return static_cast<uint16_t>(at->number);
}

Task<void> Frontend::close() {
  co_await disconnect();
  news_.reset();
  for (const auto& queue : queues_) {
    for (Waiting& waiting : queue->waiting) {
      if (waiting.handle) std::exchange(waiting.handle, {}).resume();
    }
  }
}

Task<void> Frontend::disconnect() {
  socket_.shut_down();
  for (const auto& queue : queues_) co_await quieten(*queue);
  socket_ = DescriptorSocket();
}

/// Nobody listens to the device or kicks it any more.
Task<void> Frontend::quieten(GuestQueue& queue) {
  queue.called.interrupt();
  co_await queue.pump.join();
  queue.called.resume();
  co_await queue.kicker.set(OwnedDescriptor());
}

// --- Messages ---------------------------------------------------------------------------------

Task<Result<void>> Frontend::send(Request request, Bytes payload, std::vector<int> descriptors,
                                  uint32_t flags) {
  Header header;
  header.request = static_cast<uint32_t>(request);
  header.flags = flags;
  header.size = static_cast<uint32_t>(payload.size());
  const auto encoded = header.encode();
  Bytes bytes(encoded.begin(), encoded.end());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  co_return co_await socket_.send(bytes, std::move(descriptors));
}

Task<Result<Frontend::Answer>> Frontend::receive() {
  std::array<std::byte, Header::kSize> bytes;
  Answer answer;
  Result<void> received = co_await socket_.receive(bytes, answer.descriptors);
  if (!received) co_return fail(received.error());
  answer.header = Header::decode(bytes);
  answer.payload.resize(std::min<size_t>(answer.header.size, 4096));
  received = co_await socket_.receive(answer.payload, answer.descriptors);
  if (!received) co_return fail(received.error());
  co_return answer;
}

Task<Result<Frontend::Answer>> Frontend::ask(Request request, Bytes payload) {
  Result<void> sent = co_await send(request, std::move(payload));
  if (!sent) co_return fail(sent.error());
  Result<Answer> answer = co_await receive();
  if (answer && answer->header.request != static_cast<uint32_t>(request)) {
    co_return fail(ErrorCode::kIo, "an answer to something else came");
  }
  co_return answer;
}

Task<Result<uint64_t>> Frontend::ask_number(Request request) {
  Result<Answer> answer = co_await ask(request);
  if (!answer) co_return fail(answer.error());
  co_return Payload(answer->payload).number();
}

Task<Result<void>> Frontend::command(Request request, Bytes payload, std::vector<int> descriptors) {
  const bool acknowledged = (options_.without_protocol & bit(ProtocolFeature::kReplyAck)) == 0;
  Result<void> sent = co_await send(request, std::move(payload), std::move(descriptors),
                                    Header::kVersion | (acknowledged ? Header::kNeedReply : 0));
  if (!sent || !acknowledged) co_return sent;
  Result<Answer> answer = co_await receive();
  if (!answer) co_return fail(answer.error());
  const Result<uint64_t> code = Payload(answer->payload).number();
  if (!code) co_return fail(code.error());
  if (*code == 0) co_return ok();
  co_return fail(
      Error(ErrorCode::kInvalidArgument, "the backend refused").because("frontend-refused"));
}

Task<Result<uint32_t>> Frontend::next_news() {
  std::array<std::byte, Header::kSize> bytes;
  std::vector<OwnedDescriptor> descriptors;
  Result<void> received = co_await news_->receive(bytes, descriptors);
  if (!received) co_return fail(received.error());
  co_return Header::decode(bytes).request;
}

Task<Result<Bytes>> Frontend::config() {
  const Bytes room(60);
  ConfigPart part;
  part.size = static_cast<uint32_t>(room.size());
  part.bytes = room;
  Result<Answer> answer = co_await ask(Request::kGetConfig, encode_config(part));
  if (!answer) co_return fail(answer.error());
  const Result<ConfigPart> got = Payload(answer->payload).config();
  if (!got) co_return fail(got.error());
  co_return Bytes(got->bytes.begin(), got->bytes.end());
}

// --- Requests ---------------------------------------------------------------------------------

class Frontend::CompletionAwaiter {
 public:
  explicit CompletionAwaiter(Waiting& waiting) : waiting_(waiting) {}
  bool await_ready() const noexcept { return waiting_.done; }
  void await_suspend(std::coroutine_handle<> self) noexcept { waiting_.handle = self; }
  void await_resume() const noexcept {}

 private:
  Waiting& waiting_;
};

void Frontend::deliver(GuestQueue& queue) {
  do {
    while (const std::optional<GuestRing::Used> used = queue.ring.take_used()) {
      Waiting& waiting = queue.waiting[used->head];
      waiting.length = used->length;
      waiting.done = true;
      if (waiting.handle) std::exchange(waiting.handle, {}).resume();
    }
  } while (!queue.ring.ask_for_call());
}

Task<void> Frontend::pump(GuestQueue& queue) {
  deliver(queue);
  while (true) {
    const Result<void> called = co_await queue.called.wait();
    if (!called) co_return;
    if (!queue.called.interrupted()) ++queue.calls;
    deliver(queue);
    if (queue.called.interrupted()) co_return;
  }
}

Frontend::Placed Frontend::place(uint16_t index, const Demand& demand) {
  GuestQueue& queue = *queues_[index];
  assert(!queue.free_slots.empty());
  const uint64_t slot = queue.free_slots.back();
  queue.free_slots.pop_back();
  Placed placed;
  placed.data = slot + 4096;
  placed.status = slot + kSlot - 4096;
  std::span<std::byte> bytes = memory();
  std::ranges::fill(bytes.subspan(slot, kHeaderSize), std::byte{0});
  store_le<uint32_t>(bytes.data() + slot, demand.type);
  store_le<uint64_t>(bytes.data() + slot + 8, demand.sector);
  std::ranges::copy(demand.from, bytes.begin() + static_cast<ptrdiff_t>(placed.data));
  std::ranges::fill(bytes.subspan(placed.data + demand.from.size(), demand.into), std::byte{0xee});
  bytes[placed.status] = std::byte{0xff};
  std::vector<GuestRing::Buffer> buffers{{slot, kHeaderSize, false}};
  // In two pieces of odd lengths: framing means nothing.
  const auto add = [&buffers](uint64_t at, uint32_t length, bool writable) {
    const uint32_t first = length / 3;
    if (first != 0) buffers.push_back({at, first, writable});
    if (length != 0) buffers.push_back({at + first, length - first, writable});
  };
  add(placed.data, static_cast<uint32_t>(demand.from.size()), false);
  add(placed.data + demand.from.size(), demand.into, true);
  buffers.push_back({placed.status, 1, true});
  std::optional<uint64_t> table;
  if (options_.indirect) table = slot + 64;
  const std::optional<uint16_t> head = queue.ring.offer(buffers, table);
  assert(head);
  placed.head = *head;
  queue.waiting[placed.head] = Waiting();
  return placed;
}

void Frontend::kick(uint16_t index) {
  if (queues_[index]->ring.device_wants_kick()) queues_[index]->kicker.signal();
}

Task<void> Frontend::kick_always(uint16_t index) {
  queues_[index]->kicker.signal();
  co_return;
}

Task<Result<Frontend::Completion>> Frontend::request(uint16_t index, Demand demand) {
  const Placed placed = place(index, demand);
  kick(index);
  GuestQueue& queue = *queues_[index];
  CompletionAwaiter completed(queue.waiting[placed.head]);
  co_await completed;
  if (!queue.waiting[placed.head].done) {
    co_return fail(Error(ErrorCode::kClosed, "the frontend was closed").because("socket-closed"));
  }
  Completion completion;
  completion.length = queue.waiting[placed.head].length;
  const std::span<std::byte> bytes = memory();
  completion.status = std::to_integer<uint8_t>(bytes[placed.status]);
  const auto data = bytes.subspan(placed.data + demand.from.size(), demand.into);
  completion.data.assign(data.begin(), data.end());
  queue.free_slots.push_back(placed.status + 4096 - kSlot);
  co_return completion;
}

}  // namespace ashlar::vhost
