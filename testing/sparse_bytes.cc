// Sparse bytes: a map of pages.
#include "testing/sparse_bytes.h"

#include <algorithm>
#include <cstring>

namespace ashlar {

const SparseBytes::Page* SparseBytes::find_page(uint64_t index) const {
  const auto found = pages_.find(index);
  return found == pages_.end() ? nullptr : found->second.get();
}

SparseBytes::Page& SparseBytes::writable_page(uint64_t index) {
  std::shared_ptr<Page>& page = pages_[index];
  if (page == nullptr) {
    page = std::make_shared<Page>();
  } else if (page.use_count() > 1) {
    page = std::make_shared<Page>(*page);
  }
  return *page;
}

void SparseBytes::read(uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const uint64_t skip = offset % kPageSize;
    const size_t count = std::min<size_t>(into.size(), kPageSize - skip);
    if (const Page* page = find_page(offset / kPageSize)) {
      std::memcpy(into.data(), page->data() + skip, count);
    } else {
      std::memset(into.data(), 0, count);
    }
    offset += count;
    into = into.subspan(count);
  }
}

void SparseBytes::write(uint64_t offset, std::span<const std::byte> from) {
  if (from.empty()) return;
  size_ = std::max(size_, offset + from.size());
  while (!from.empty()) {
    const uint64_t skip = offset % kPageSize;
    const size_t count = std::min<size_t>(from.size(), kPageSize - skip);
    std::memcpy(writable_page(offset / kPageSize).data() + skip, from.data(), count);
    offset += count;
    from = from.subspan(count);
  }
}

void SparseBytes::zero(ByteRange range) {
  if (range.empty()) return;
  size_ = std::max(size_, range.end());
  for (auto at = pages_.lower_bound(range.offset / kPageSize); at != pages_.end();) {
    const uint64_t page_start = at->first * kPageSize;
    if (page_start >= range.end()) break;
    const uint64_t start = std::max(range.offset, page_start);
    const uint64_t end = std::min(range.end(), page_start + kPageSize);
    if (end - start == kPageSize) {
      at = pages_.erase(at);
    } else {
      std::memset(writable_page(at->first).data() + (start - page_start), 0, end - start);
      ++at;
    }
  }
}

void SparseBytes::resize(uint64_t size) {
  if (size < size_) {
    const uint64_t old_size = size_;
    zero({size, old_size - size});
  }
  size_ = size;
}

SparseBytes::Run SparseBytes::run_at(ByteRange range) const {
  auto at = pages_.lower_bound(range.offset / kPageSize);
  const bool has_pages = at != pages_.end() && at->first == range.offset / kPageSize;
  uint64_t end = range.end();
  if (has_pages) {
    uint64_t next = at->first;
    while (at != pages_.end() && at->first == next) ++at, ++next;
    end = std::min(end, next * kPageSize);
  } else if (at != pages_.end()) {
    end = std::min(end, at->first * kPageSize);
  }
  return {.length = end - range.offset, .has_pages = has_pages};
}

std::optional<uint64_t> SparseBytes::first_difference(const SparseBytes& other) const {
  static constexpr Page kZeroes = {};
  std::optional<uint64_t> first;
  if (size_ != other.size_) first = std::min(size_, other.size_);
  auto compare = [&first](uint64_t index, const Page& mine, const Page& theirs) {
    const auto differs = std::mismatch(mine.begin(), mine.end(), theirs.begin()).first;
    if (differs == mine.end()) return;
    const uint64_t at = index * kPageSize + static_cast<uint64_t>(differs - mine.begin());
    if (!first || at < *first) first = at;
  };
  for (const auto& [index, page] : pages_) {
    const Page* theirs = other.find_page(index);
    if (theirs != page.get()) compare(index, *page, theirs == nullptr ? kZeroes : *theirs);
  }
  for (const auto& [index, page] : other.pages_) {
    if (find_page(index) == nullptr) compare(index, kZeroes, *page);
  }
  return first;
}

}  // namespace ashlar
