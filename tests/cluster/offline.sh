# shellcheck shell=bash
# Sourced: a kind cluster in a network namespace without uplink, from a node image made here.

# shellcheck source=build/go.sh
. "$here/build/go.sh"
# shellcheck source=build/debian.sh
. "$here/build/debian.sh"
# shellcheck source=build/engine.sh
. "$here/build/engine.sh"
# shellcheck source=build/node-image.sh
. "$here/build/node-image.sh"

offline_prepare() {
  need_engine
  binaries
  node_image
}

offline_create() { # WORKERS
  need_free 4 "$cache"
  engine_for_cluster
  enough_inotify
  make_netns
  write_env kind-offline "$state/bin:$bin" "$state/kubeconfig" podman "nsenter --net=$netns"
  kind_config offline "$1" >"$state/kind.yaml"
  step "kind create cluster, control plane and $1 workers" "$here/run" kind create cluster --name "$name" --image "$node_image" --config "$state/kind.yaml" --retain --wait 180s
  "$state/bin/podman" ps -aq --no-trunc >"$state/containers"
}

# offline_clear: everything that this cluster left, also a killed one. Only by what is recorded under its own name.
offline_clear() {
  local id m
  [ -e "$state/storage.conf" ] || [ -e "$netns" ] || return 0
  if [ -x "$state/bin/podman" ] && [ -x /usr/bin/podman ]; then
    engine_for_cluster
    "$state/bin/podman" ps -aq --no-trunc 2>/dev/null >>"$state/containers" || true
    # All at once, since a node takes seconds.
    sort -u "$state/containers" | xargs -r -n 1 -P 4 "$state/bin/podman" rm -f --time 0 --volumes >/dev/null 2>&1 || true
    "$state/bin/podman" rm -af --time 0 --volumes >/dev/null 2>&1 || true
    "$state/bin/podman" network rm -f kind >/dev/null 2>&1 || true
  fi
  remove_netns
  if [ -e "$state/containers" ]; then
    while read -r id; do
      for m in /sys/fs/cgroup/*/libpod_parent/"libpod-$id" /sys/fs/cgroup/libpod_parent/"libpod-$id"; do
        [ ! -d "$m" ] || find "$m" -depth -type d -exec rmdir {} + 2>/dev/null || true
      done
    done < <(sort -u "$state/containers")
  fi
  # Their parents, if this was the last cluster.
  rmdir /sys/fs/cgroup/*/libpod_parent/conmon /sys/fs/cgroup/libpod_parent/conmon /sys/fs/cgroup/*/libpod_parent /sys/fs/cgroup/libpod_parent 2>/dev/null || true
  awk -v a="$state/" -v b="$rundir/" 'index($2, a) == 1 || index($2, b) == 1 {print $2}' /proc/mounts | sort -r | while read -r m; do
    umount -l "$m" || true
  done
  rm -rf "$rundir"
}
