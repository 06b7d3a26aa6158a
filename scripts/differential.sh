#!/usr/bin/env bash
# Runs the differential suite on what Ashlar has so far.
# usage: differential.sh DIFFER.PY FOLDER_OF_TOOLS [SCENARIOS]
set -euo pipefail
differ=$1
tools=$2
scenarios=${3:-20}
here=$(dirname "$0")

mapfile -t left_out < <(grep -v -e '^#' -e '^$' "$here/../tests/differential/not_yet.txt")
is_left_out() {
  local pattern
  for pattern in "${left_out[@]}"; do
    # shellcheck disable=SC2053  # the right side is a pattern
    [[ $1 == $pattern ]] && return 0
  done
  return 1
}

cases=()
while read -r _ name; do
  is_left_out "$name" || cases+=(--case "$name")
done < <(python3 "$differ" --list --area cli)

status=0
passed=0
failed=0
skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# area OPTION...: one run of the suite, added to the totals.
area() {
  local last
  python3 "$differ" --ours-dir "$tools" "$@" 2>&1 | tee "$log" || status=1
  last=$(tail -n 1 "$log")
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped ]]; then
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
    skipped=$((skipped + BASH_REMATCH[3]))
  else
    failed=$((failed + 1))
  fi
}

area --area cli "${cases[@]}"
area --area scenario --cases "$scenarios" --without snapshot,bitmap,amend,commit,rebase
area --area malformed --case 'qcow2*'

echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
