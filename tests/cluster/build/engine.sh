# shellcheck shell=bash
# Sourced: podman from Debian for the offline way, with settings, storage and network of its own, so that it neither
# sees nor disturbs the machine's. Images are in one store for all clusters of this user; containers are per cluster.

# netavark calls iptables
engine_packages=(podman netavark aardvark-dns iptables conmon runc mmdebstrap buildah jq iproute2)
image_store=$cache/images

need_engine() {
  local c
  [ "$(id -u)" = 0 ] || die "the offline cluster needs root (network namespaces, mounts, nested containers)" \
    "run as root, or use Docker (CLUSTER=kind-docker), or set CLUSTER=existing and KUBECONFIG"
  command -v python3 >/dev/null || engine_packages+=(python3)
  packages "${engine_packages[@]}"
  for c in overlay nsfs tmpfs; do
    grep -qw "$c" /proc/filesystems || [ "$c" = nsfs ] || die "the kernel has no file system $c" "load its module (modprobe $c), or use another machine"
  done
  [ -e /proc/net/netfilter ] || [ -d /proc/sys/net/netfilter ] || die "the kernel has no netfilter, which kube-proxy needs" "modprobe nf_tables, or use another machine"
  grep -Eq '^(pids|memory)\b.*1$' /proc/cgroups || die "the kernel's memory or pids cgroup is off" "see /proc/cgroups; boot with cgroup_enable=memory"
  storage_conf "$image_store" /run/workercluster/images
}

# Each node's systemd, containerd and kubelet take some 30 inotify instances of this user; many kernels allow 128, and
# a kubelet that gets none never joins.
enough_inotify() {
  local file=/proc/sys/fs/inotify/max_user_instances
  [ "$(cat $file)" -lt 1024 ] || return 0
  say "raising fs.inotify.max_user_instances from $(cat $file) to 1024 (until the next boot)"
  echo 1024 >$file || die "fs.inotify.max_user_instances is $(cat $file), which is too few for nodes" "sysctl fs.inotify.max_user_instances=1024"
}

# storage_conf FOLDER RUN [MORE_IMAGES]
storage_conf() {
  mkdir -p "$1" "$2"
  {
    printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/storage"\nrunroot = "%s/storage"\n' "$1" "$2"
    [ -z "${3:-}" ] || printf '[storage.options]\nadditionalimagestores = ["%s"]\n' "$3"
  } >"$1/storage.conf"
  echo 'unqualified-search-registries = []' >"$1/registries.conf"
  cat >"$1/containers.conf" <<C
[containers]
# Without CAP_SYS_RESOURCE podman's own defaults fail with "setrlimit: Operation not permitted".
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
# crun refuses a hybrid of cgroup v1 and v2
runtime = "runc"
# systemd in a node does not stop in time, and deleting would wait for it
stop_timeout = 1
helper_binaries_dir = ["$1/bin", "/usr/lib/podman", "/usr/libexec/podman"]
tmp_dir = "$2/libpod"
volume_path = "$1/volumes"
[network]
network_backend = "netavark"
network_config_dir = "$1/networks"
# RFC 2544: never routed on the internet
default_subnet = "198.18.252.0/24"
default_subnet_pools = [{"base" = "198.18.253.0/24", "size" = 24}]
C
}

# engine_images ARG…: podman on the shared image store.
engine_images() {
  CONTAINERS_CONF=$image_store/containers.conf CONTAINERS_STORAGE_CONF=$image_store/storage.conf \
    CONTAINERS_REGISTRIES_CONF=$image_store/registries.conf /usr/bin/podman "$@"
}

# engine_for_cluster: what kind calls as podman, for this cluster.
engine_for_cluster() {
  storage_conf "$state" "$rundir" "$image_store/storage"
  mkdir -p "$state/bin" "$state/no-modules"
  cat >"$state/bin/podman" <<C
#!/bin/bash
# kind mounts /lib/modules: on a machine whose kernel has no modules, an empty folder takes its place.
export CONTAINERS_CONF=$state/containers.conf CONTAINERS_STORAGE_CONF=$state/storage.conf CONTAINERS_REGISTRIES_CONF=$state/registries.conf
arguments=()
for x in "\$@"; do
  if [ "\$x" = /lib/modules:/lib/modules:ro ] && [ ! -d /lib/modules ]; then x=$state/no-modules:/lib/modules:ro; fi
  arguments+=("\$x")
done
exec /usr/bin/podman "\${arguments[@]}"
C
  # As root, podman keeps one name server for the whole machine, which would answer in the first cluster's network only.
  cat >"$state/bin/netavark" <<C
#!/bin/bash
arguments=()
for x in "\$@"; do
  [ "\$x" != /run/containers/networks ] || x=$rundir/networks
  arguments+=("\$x")
done
for x in /usr/lib/podman /usr/libexec/podman; do [ ! -x \$x/netavark ] || exec \$x/netavark "\${arguments[@]}"; done
C
  mkdir -p "$rundir/networks"
  chmod +x "$state/bin"/{podman,netavark}
}

# A network namespace without uplink: nothing that runs in the cluster can reach beyond this machine. The default route
# ends in a veth pair, because kind and kubeadm want one.
make_netns() {
  [ ! -e "$netns" ] || return 0
  ip netns add "$name" || die "no network namespace can be made" "are you root, and is /run writable?"
  ip -n "$name" link set lo up
  ip -n "$name" link add up0 type veth peer name up1 || die "the kernel has no veth" "modprobe veth"
  ip -n "$name" addr add 198.18.250.1/32 dev up0
  ip -n "$name" link set up1 up
  ip -n "$name" link set up0 up
  ip -n "$name" route add default dev up0
  nsenter --net="$netns" sysctl -qw net.ipv4.ip_forward=1
}

remove_netns() {
  local p
  [ -e "$netns" ] || return 0
  # The cluster's name server outlives its last container.
  for p in $(ip netns pids "$name"); do
    [ "$(cat "/proc/$p/comm" 2>/dev/null)" != aardvark-dns ] || kill "$p"
  done
  ip netns del "$name"
}
