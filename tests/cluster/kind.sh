# shellcheck shell=bash
# Sourced: what is the same for every kind cluster.

kind_config() { # OFFLINE WORKERS
  echo 'kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4'
  # Ranges inside 198.18.0.0/15 are never routed.
  [ "$1" != offline ] || echo 'networking: {kubeProxyMode: nftables, podSubnet: 198.18.0.0/17, serviceSubnet: 198.19.0.0/20}'
  if ! may_raise_resources; then
    echo 'containerdConfigPatches:
- |
  [plugins."io.containerd.grpc.v1.cri"]
    restrict_oom_score_adj = true'
  fi
  # Room for more than 110 small pods on a node; and a kubelet refuses cgroup v1 unless told otherwise.
  echo 'kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  maxPods: 250
  failCgroupV1: false
nodes:
- role: control-plane'
  for _ in $(seq "$2"); do echo '- role: worker'; done
}

# CAP_SYS_RESOURCE (bit 24), which some machines withhold even from root: then no oom_score_adj can be lowered.
may_raise_resources() {
  local bounding
  bounding=$(awk '/^CapBnd/ {print $2}' /proc/self/status 2>/dev/null) || return 0
  [ -z "$bounding" ] || [ $((0x$bounding >> 24 & 1)) = 1 ]
}

# Built for kind 0.33, and named in its release notes. The offline way builds the same minor version.
kind_version=v0.33
# shellcheck disable=SC2034 # read in engines.sh
kind_node_image=${KIND_NODE_IMAGE:-kindest/node:v1.36.4@sha256:099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed}
