// Who may do what with a node at the same time: permissions used and shared on every edge.
#pragma once

#include <cstdint>
#include <string>

namespace ashlar {

/// One thing a user of a node does.
enum class Permission : uint8_t {
  kConsistentRead = 1,  ///< reads that make sense as a disk
  kWrite = 2,
  kWriteUnchanged = 4,  ///< writes that do not change what is read
  kResize = 8,
};

/// A set of them.
class Permissions {
 public:
  constexpr Permissions() = default;
  constexpr Permissions(Permission one)
      : bits_(static_cast<uint8_t>(one)) {}  // NOLINT: a set of one
  static constexpr Permissions none() { return {}; }
  static constexpr Permissions all() { return Permissions(uint8_t{15}); }

  constexpr bool has(Permission one) const { return (bits_ & static_cast<uint8_t>(one)) != 0; }
  constexpr bool includes(Permissions other) const { return (bits_ & other.bits_) == other.bits_; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr Permissions operator|(Permissions other) const {
    return Permissions(uint8_t(bits_ | other.bits_));
  }
  constexpr Permissions operator&(Permissions other) const {
    return Permissions(uint8_t(bits_ & other.bits_));
  }
  constexpr Permissions without(Permissions other) const {
    return Permissions(uint8_t(bits_ & ~other.bits_));
  }
  constexpr bool operator==(const Permissions&) const = default;
  constexpr uint8_t bits() const { return bits_; }
  /// "consistent read, write"
  std::string describe() const;

 private:
  constexpr explicit Permissions(uint8_t bits) : bits_(bits) {}
  uint8_t bits_ = 0;
};
constexpr Permissions operator|(Permission a, Permission b) {
  return Permissions(a) | Permissions(b);
}

/// What a child is to its parent.
enum class ChildRole : uint8_t {
  kPrimary,   ///< a format's file: its metadata and, unless there is a data file, its data
  kData,      ///< guest data only
  kFiltered,  ///< what a filter passes through to
  kBacking,   ///< what lies below a copy-on-write layer
};

}  // namespace ashlar
