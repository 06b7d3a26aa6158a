// How each option of the handshake is answered.
#include "exports/nbd/options.h"

#include <fmt/format.h>

#include <algorithm>

#include "exports/nbd/limits.h"

namespace ashlar::nbd {
namespace {

using Answer = OptionAnswers::Answer;
using Next = OptionAnswers::Next;

constexpr uint32_t kKnownClientFlags = client_flag::kFixedNewStyle | client_flag::kNoZeroes;

std::string_view name_of(Option option) {
  switch (option) {
    case Option::kExportName:
      return "export name";
    case Option::kAbort:
      return "abort";
    case Option::kList:
      return "list";
    case Option::kStartTls:
      return "starttls";
    case Option::kInfo:
      return "info";
    case Option::kGo:
      return "go";
    case Option::kStructuredReply:
      return "structured reply";
    case Option::kListMetaContext:
      return "list meta context";
    case Option::kSetMetaContext:
      return "set meta context";
    case Option::kExtendedHeaders:
      return "extended headers";
    case Option::kPeekExport:
      break;
  }
  return "unknown";
}

void append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

Answer reply(Option option, OptionReply type, ByteView data = {}) {
  return {.bytes = encode_option_reply(option, type, data)};
}
Answer refuse(Option option, OptionReply type, std::string_view message) {
  return {.bytes = encode_option_reply(option, type, message)};
}
Answer refuse_data(Option option) {
  return refuse(option, OptionReply::kErrorInvalid,
                fmt::format("option '{}' has unexpected length", name_of(option)));
}

/// Names come from clients: quoted, they stay short.
std::string shortened(std::string_view name) {
  constexpr size_t kMost = 80;
  if (name.size() <= kMost) return std::string(name);
  return std::string(name.substr(0, kMost)) + "...";
}
Answer refuse_name(Option option, std::string_view name) {
  return refuse(option, OptionReply::kErrorUnknown,
                fmt::format("export '{}' not present", shortened(name)));
}

}  // namespace

Result<void> OptionAnswers::set_client_flags(uint32_t flags) {
  if ((flags & ~kKnownClientFlags) != 0) {
    return fail(
        Error(ErrorCode::kUnsupported, fmt::format("client sent unknown flags {:#x}", flags))
            .because("nbd-client-flags"));
  }
  no_zeroes_ = (flags & client_flag::kNoZeroes) != 0;
  return ok();
}

Answer OptionAnswers::too_big(Option option, uint32_t length) const {
  return refuse(option, OptionReply::kErrorTooBig,
                fmt::format("option '{}' has {} bytes of data", name_of(option), length));
}

void OptionAnswers::tls_started() {
  encrypted_ = true;
  session_ = {};
  contexts_of_.clear();
}

Answer OptionAnswers::answer(Option option, ByteView data) {
  if (option == Option::kAbort) {
    Answer farewell = reply(option, OptionReply::kAck);
    farewell.next = Next::kEnd;
    return farewell;
  }
  if (tls_missing() && option != Option::kStartTls) {
    // This option has no way to say no.
    if (option == Option::kExportName) return {.bytes = {}, .next = Next::kEnd};
    return refuse(option, OptionReply::kErrorTlsRequired,
                  fmt::format("option '{}' is for encrypted connections", name_of(option)));
  }
  switch (option) {
    case Option::kExportName:
      return answer_export_name(data);
    case Option::kList:
      return answer_list(data);
    case Option::kStartTls:
      return answer_start_tls(data);
    case Option::kInfo:
    case Option::kGo:
      return answer_info(option, data);
    case Option::kStructuredReply:
      return answer_structured_reply(data);
    case Option::kExtendedHeaders:
      return answer_extended_headers(data);
    case Option::kListMetaContext:
      return answer_contexts(option, data, Effect::kLook);
    case Option::kSetMetaContext:
      return answer_contexts(option, data, Effect::kSelect);
    default:
      return refuse(option, OptionReply::kErrorUnsupported,
                    fmt::format("option {} is not supported", static_cast<uint32_t>(option)));
  }
}

ExportSummary OptionAnswers::summary_of(const ServedExport& served) const {
  using namespace transmission_flag;
  unsigned flags = kHasFlags | kFlush | kFua | kCache;
  if (served.access == ServedExport::Access::kWritable) {
    flags |= kTrim | kWriteZeroes | kFastZero;
  } else {
    flags |= kReadOnly;
  }
  if (session_.structured()) flags |= kDontFragment;
  if (session_.headers == Headers::kExtended) flags |= kBlockStatusPayload;
  // All connections reach the data through one backend: what one has flushed, all see.
  if (terms_.connections == Terms::Connections::kSeveral) flags |= kMultiConn;
  return {.size = served.size(), .flags = static_cast<uint16_t>(flags)};
}

void OptionAnswers::enter(ServedExport& served) {
  session_.served = &served;
  // The numbers of contexts mean something for the export they were chosen for only.
  if (contexts_of_ != served.name) session_.contexts.clear();
}

Answer OptionAnswers::answer_export_name(ByteView data) {
  const std::string_view name(reinterpret_cast<const char*>(data.data()), data.size());
  ServedExport* served = terms_.exports->find(name);
  if (served == nullptr) return {.bytes = {}, .next = Next::kEnd};
  enter(*served);
  Answer answer{.bytes = encode_export_name_reply(summary_of(*served)),
                .next = Next::kTransmission};
  if (!no_zeroes_) answer.bytes.resize(answer.bytes.size() + kReservedZeroes);
  return answer;
}

Answer OptionAnswers::answer_list(ByteView data) const {
  if (!data.empty()) return refuse_data(Option::kList);
  Bytes bytes;
  for (const ServedExport* served : terms_.exports->all()) {
    const ServerEntry entry{.name = served->name, .description = served->description};
    append(bytes, encode_option_reply(Option::kList, OptionReply::kServer, encode(entry)));
  }
  append(bytes, encode_option_reply(Option::kList, OptionReply::kAck));
  return {.bytes = std::move(bytes)};
}

Answer OptionAnswers::answer_start_tls(ByteView data) const {
  if (!data.empty()) return refuse_data(Option::kStartTls);
  if (terms_.tls == Terms::Tls::kNone) {
    return refuse(Option::kStartTls, OptionReply::kErrorPolicy, "TLS not configured");
  }
  if (encrypted_) {
    return refuse(Option::kStartTls, OptionReply::kErrorInvalid, "TLS already enabled");
  }
  Answer answer = reply(Option::kStartTls, OptionReply::kAck);
  answer.next = Next::kTls;
  return answer;
}

Answer OptionAnswers::answer_info(Option option, ByteView data) {
  const Result<InfoRequest> request = decode_info_request(data);
  if (!request) {
    return refuse(option, OptionReply::kErrorInvalid,
                  fmt::format("inconsistent lengths in option '{}'", name_of(option)));
  }
  ServedExport* served = terms_.exports->find(request->export_name);
  if (served == nullptr) return refuse_name(option, request->export_name);
  if (option == Option::kGo) enter(*served);

  Answer answer;
  InfoReply info;
  const auto add = [&answer, &info, option](Info type) {
    info.type = type;
    append(answer.bytes, encode_option_reply(option, OptionReply::kInfo, encode(info)));
  };
  if (std::ranges::find(request->wanted, Info::kName) != request->wanted.end()) {
    info.text = served->name;
    add(Info::kName);
  }
  if (!served->description.empty()) {
    info.text = served->description;
    add(Info::kDescription);
  }
  info.sizes.minimum = 1;  // the backend aligns
  info.sizes.maximum_payload = static_cast<uint32_t>(kMaxPayload);
  add(Info::kBlockSize);
  info.summary = summary_of(*served);
  add(Info::kExport);
  append(answer.bytes, encode_option_reply(option, OptionReply::kAck));
  if (option == Option::kGo) answer.next = Next::kTransmission;
  return answer;
}

Answer OptionAnswers::answer_structured_reply(ByteView data) {
  constexpr Option kOption = Option::kStructuredReply;
  if (!data.empty()) return refuse_data(kOption);
  if (session_.structured()) {
    return refuse(kOption, OptionReply::kErrorInvalid, "structured reply already negotiated");
  }
  session_.replies = Session::Replies::kStructured;
  return reply(kOption, OptionReply::kAck);
}

Answer OptionAnswers::answer_extended_headers(ByteView data) {
  constexpr Option kOption = Option::kExtendedHeaders;
  if (!data.empty()) return refuse_data(kOption);
  if (session_.headers == Headers::kExtended) {
    return refuse(kOption, OptionReply::kErrorInvalid, "extended headers already negotiated");
  }
  session_.headers = Headers::kExtended;
  session_.replies = Session::Replies::kStructured;
  return reply(kOption, OptionReply::kAck);
}

Answer OptionAnswers::answer_contexts(Option option, ByteView data, Effect effect) {
  if (effect == Effect::kSelect) {
    session_.contexts.clear();
    contexts_of_.clear();
  }
  if (!session_.structured()) {
    return refuse(option, OptionReply::kErrorInvalid,
                  fmt::format("option '{}' needs structured replies", name_of(option)));
  }
  const Result<MetaContextRequest> request = decode_meta_context_request(data);
  if (!request) {
    return refuse(option, OptionReply::kErrorInvalid,
                  fmt::format("inconsistent lengths in option '{}'", name_of(option)));
  }
  ServedExport* served = terms_.exports->find(request->export_name);
  if (served == nullptr) return refuse_name(option, request->export_name);

  std::vector<Context> found = effect == Effect::kLook ? served->contexts.list(request->queries)
                                                       : served->contexts.select(request->queries);
  Answer answer;
  for (const Context& context : found) {
    const MetaContext described{.id = effect == Effect::kLook ? 0 : context.id,
                                .name = context.name()};
    append(answer.bytes, encode_option_reply(option, OptionReply::kMetaContext, encode(described)));
  }
  append(answer.bytes, encode_option_reply(option, OptionReply::kAck));
  if (effect == Effect::kSelect) {
    session_.contexts = std::move(found);
    contexts_of_ = served->name;
  }
  return answer;
}

}  // namespace ashlar::nbd
