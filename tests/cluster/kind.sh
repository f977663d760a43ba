# shellcheck shell=bash
# Sourced: what is the same for every kind cluster.

kind_config() { # OFFLINE WORKERS
  echo 'kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4'
  if [ "$1" = offline ]; then
    # The ranges are inside 198.18.0.0/15, which is never routed. On cgroup v1 the kubelet must be told to start, and
    # without CAP_SYS_RESOURCE no oom_score_adj can be lowered. With cgroup v2 and all capabilities both do nothing.
    echo 'networking: {kubeProxyMode: nftables, podSubnet: 198.18.0.0/17, serviceSubnet: 198.19.0.0/20}
containerdConfigPatches:
- |
  [plugins."io.containerd.grpc.v1.cri"]
    restrict_oom_score_adj = true'
  fi
  # Room for more than 110 small pods on a node.
  echo 'kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  maxPods: 250'
  [ "$1" != offline ] || echo '  failCgroupV1: false'
  echo 'nodes:
- role: control-plane'
  for _ in $(seq "$2"); do echo '- role: worker'; done
}

# Built for kind 0.33, and named in its release notes. The offline way builds the same minor version.
kind_version=v0.33
# shellcheck disable=SC2034 # read in engines.sh
kind_node_image=${KIND_NODE_IMAGE:-kindest/node:v1.36.4@sha256:099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed}
