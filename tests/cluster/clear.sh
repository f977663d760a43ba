# shellcheck shell=bash
# Sourced: removing a cluster, whole or half made.

clear_cluster() {
  local kind=
  if [ -r "$state/env" ]; then kind=$(sed -n 's/^export CLUSTER=\([a-z-]*\).*/\1/p' "$state/env"); fi
  rm -f "$state/ready"
  stop_recorded
  case $kind in
    kind-docker | kind-podman) "$here/run" kind delete cluster --name "$name" ;;
    existing) ;;
    *) offline_clear ;;
  esac
  rm -rf "$state"
}

# stop_recorded: ends the programs that `kwok` and `forward` left running, each known by its id and start time.
stop_recorded() {
  local f pid start
  for f in "$state"/pids/*; do
    [ -r "$f" ] || continue
    read -r pid start <"$f"
    if [ "$(awk '{print $22}' "/proc/$pid/stat" 2>/dev/null)" = "$start" ]; then kill "$pid"; fi
    rm -f "$f"
  done
}
