# shellcheck shell=bash
# Sourced: removing a cluster, whole or half made.

clear_cluster() {
  local kind f
  kind=$(kind_of_env)
  rm -f "$state/ready"
  for f in kwok "$pids"/forward-*; do stop_recorded "${f##*/}"; done
  case $kind in
    kind-docker | kind-podman) "$here/run" kind delete cluster --name "$name" ;;
    existing) ;;
    *) offline_clear ;;
  esac
  rm -rf "$state"
}
