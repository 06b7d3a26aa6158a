// Runs a fuzzer over files and folders given as arguments, without libFuzzer.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

size_t replay_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> text{std::istreambuf_iterator<char>(file), {}};
  const std::vector<uint8_t> bytes(text.begin(), text.end());
  std::fprintf(stderr, "replay %s\n", path.c_str());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  return 1;
}

size_t replay(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return replay_file(path);
  size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) files += replay_file(entry.path());
  }
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  size_t files = 0;
  for (int i = 1; i < argc; ++i) files += replay(argv[i]);
  std::fprintf(stderr, "%zu inputs replayed\n", files);
  return files > 0 ? 0 : 1;  // an empty corpus would test nothing
}
