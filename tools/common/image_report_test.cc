// Claims about the reports of images.
#include "tools/common/image_report.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include <string>

namespace ashlar::tools {
namespace {

ImageReport overlay() {
  ImageReport report;
  report.filename = "d/top.img";
  report.format = "layered";
  report.virtual_size = 1536;
  report.actual_size = 4096;
  report.info.cluster_size = 512;
  report.info.encrypted = true;
  report.info.dirty = true;
  report.info.backing_file = "base.img";
  report.info.backing_format = "raw";
  report.full_backing_file = "d/base.img";
  report.info.specific_type = "layered";
  report.info.specific = {{"lazy-counts", false}, {"flags", InfoValue::List{"auto"}}};
  return report;
}

TEST(ImageReport, PrintsItsLinesInOrder) {
  std::string text;
  append_report(text, overlay());
  EXPECT_EQ(text,
            "image: d/top.img\n"
            "file format: layered\n"
            "virtual size: 1.5 KiB (1536 bytes)\n"
            "disk size: 4 KiB\n"
            "encrypted: yes\n"
            "cluster_size: 512\n"
            "cleanly shut down: no\n"
            "backing file: base.img (actual path: d/base.img)\n"
            "backing file format: raw\n"
            "Format specific information:\n"
            "    lazy counts: false\n"
            "    flags:\n"
            "        [0]: auto\n");
}

TEST(ImageReport, NamesThePathOfEveryChild) {
  ImageReport file;
  file.filename = "top.img";
  file.format = "file";
  file.kind = NodeKind::kStorage;
  file.virtual_size = 1024;
  ImageReport report;
  report.children.push_back({"file", file});
  std::string text;
  append_report(text, report);
  EXPECT_NE(text.find("disk size: unavailable\n"
                      "Child node '/file':\n"
                      "    filename: top.img\n"
                      "    protocol type: file\n"
                      "    file length: 1 KiB (1024 bytes)\n"
                      "    disk size: unavailable\n"),
            std::string::npos);
}

TEST(ImageReport, HasThePeersOrderOfMembersInJson) {
  std::string text;
  JsonWriter json(text);
  ImageReport report = overlay();
  report.info.snapshots.push_back({.id = "1", .name = "s", .vm_clock_ns = 1'000'000'002});
  write_report(json, report);
  size_t last = 0;
  for (const std::string_view key :
       {"children", "snapshots", "vm-clock-nsec\": 2", "vm-clock-sec\": 1",
        "backing-filename-format", "virtual-size", "\"filename", "cluster-size", "\"format\"",
        "actual-size", "format-specific", "full-backing-filename", "encrypted",
        "\"backing-filename\"", "dirty-flag\": true"}) {
    const size_t found = text.find(key, last);
    ASSERT_NE(found, std::string::npos) << key << " in " << text;
    last = found;
  }
}

TEST(SnapshotTable, HasFixedColumnsAndDashesWithoutACount) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  const SnapshotInfo snapshot{.id = "1",
                              .name = "first",
                              .vm_state_size = 2048,
                              .date_seconds = 86400,
                              .vm_clock_ns = 3'661'042'000'000};
  std::string text;
  append_snapshot_table(text, std::array{snapshot});
  EXPECT_EQ(text,
            "ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT\n"
            "1       first               2 KiB 1970-01-02 00:00:00  0001:01:01.042         --\n");
}

}  // namespace
}  // namespace ashlar::tools
