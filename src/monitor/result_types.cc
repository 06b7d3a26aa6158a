// What commands return, for the schema; tests hold every reply to it.
#include "monitor/result_types.h"

namespace ashlar::monitor {
namespace {

struct ObjectRow {
  std::string_view name;
  std::string_view members;
};

constexpr ObjectRow kObjects[] = {
    {"VersionTriple", "major:int, minor:int, micro:int"},
    {"VersionInfo", "qemu:VersionTriple, package:str"},
    {"CommandInfo", "name:str"},
    {"JobInfo",
     "id:str, type:(commit stream mirror backup create amend), status:JobStatus, "
     "current-progress:int, total-progress:int, *error:str"},
    {"BlockExportInfo",
     "id:str, type:BlockExportType, node-name:str, shutting-down:bool, *backend:str"},
    {"ObjectPropertyInfo", "name:str, type:str, *description:str, *default-value:any"},
    {"ObjectTypeInfo", "name:str, *abstract:bool, *parent:str"},
    {"SnapshotInfo",
     "id:str, name:str, vm-state-size:int, date-sec:int, date-nsec:int, vm-clock-sec:int, "
     "vm-clock-nsec:int, *icount:int"},
    {"ImageInfoSpecific", "type:str, data:any"},
    {"ImageChild", "name:str, info:ImageInfo"},
    {"ImageLimits",
     "request-alignment:int, *max-transfer:int, min-mem-alignment:int, opt-mem-alignment:int"},
    {"ImageInfo",
     "filename:str, format:str, *dirty-flag:bool, *actual-size:int, virtual-size:int, "
     "*cluster-size:int, *encrypted:bool, *compressed:bool, *backing-filename:str, "
     "*full-backing-filename:str, *backing-filename-format:str, *snapshots:[SnapshotInfo], "
     "*backing-image:ImageInfo, *format-specific:ImageInfoSpecific, *children:[ImageChild], "
     "*limits:ImageLimits"},
    {"BlockdevCacheInfo", "writeback:bool, direct:bool, no-flush:bool"},
    {"BlockDirtyInfo",
     "name:str, count:int, granularity:int, recording:bool, busy:bool, persistent:bool, "
     "*inconsistent:bool"},
    {"BlockDeviceInfo",
     "*dirty-bitmaps:[BlockDirtyInfo], file:str, *node-name:str, ro:bool, drv:str, "
     "*backing_file:str, backing_file_depth:int, "
     "encrypted:bool, detect_zeroes:(off on unmap), bps:int, bps_rd:int, bps_wr:int, iops:int, "
     "iops_rd:int, iops_wr:int, image:ImageInfo, *bps_max:int, *bps_rd_max:int, *bps_wr_max:int, "
     "*iops_max:int, *iops_rd_max:int, *iops_wr_max:int, *bps_max_length:int, "
     "*bps_rd_max_length:int, *bps_wr_max_length:int, *iops_max_length:int, "
     "*iops_rd_max_length:int, *iops_wr_max_length:int, *iops_size:int, *group:str, "
     "cache:BlockdevCacheInfo, write_threshold:int"},
    {"BlockInfo",
     "device:str, *qdev:str, type:str, removable:bool, locked:bool, *inserted:BlockDeviceInfo, "
     "*tray_open:bool, *io-status:(ok failed nospace)"},
    {"BlockDeviceStats",
     "rd_bytes:int, wr_bytes:int, unmap_bytes:int, rd_operations:int, wr_operations:int, "
     "flush_operations:int, unmap_operations:int, rd_total_time_ns:int, wr_total_time_ns:int, "
     "flush_total_time_ns:int, unmap_total_time_ns:int, wr_highest_offset:int, rd_merged:int, "
     "wr_merged:int, unmap_merged:int, *idle_time_ns:int, failed_rd_operations:int, "
     "failed_wr_operations:int, failed_flush_operations:int, failed_unmap_operations:int, "
     "invalid_rd_operations:int, invalid_wr_operations:int, invalid_flush_operations:int, "
     "invalid_unmap_operations:int, account_invalid:bool, account_failed:bool, timed_stats:[any]"},
    {"BlockStats",
     "*device:str, *qdev:str, *node-name:str, stats:BlockDeviceStats, *parent:BlockStats, "
     "*backing:BlockStats"},
    {"BlockGraphNode", "id:int, type:(block-backend block-job block-driver), name:str"},
    {"BlockGraphEdge",
     "parent:int, child:int, name:str, "
     "perm:[(consistent-read write write-unchanged resize)], "
     "shared-perm:[(consistent-read write write-unchanged resize)]"},
    {"BlockGraph", "nodes:[BlockGraphNode], edges:[BlockGraphEdge]"},
    {"BlockGraphDrawing", "text:str"},
};

}  // namespace

void define_result_types(Types& types) {
  for (const ObjectRow& row : kObjects) types.define_object(row.name, row.members);
}

}  // namespace ashlar::monitor
