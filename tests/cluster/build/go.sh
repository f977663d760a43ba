# shellcheck shell=bash
# Sourced: the programs of the offline cluster from Go modules, pinned by ../go/go.mod and go.sum. One module for all of
# them, so that what they share is compiled once (containerd wants a newer CRI than this Kubernetes), and one binary (../go/kube) for everything that is Kubernetes.

kubernetes=1.36.3
go_dir=$here/go
go_tags=no_btrfs,no_devmapper,no_zfs
containerd_cmd=github.com/containerd/containerd/v2/cmd
kube_names=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubeadm kubectl metrics-server etcd)

# go_build MODULE OUT PACKAGE…: static, without debug information (a tenth of the compile time and half of the size).
go_build() {
  local module=$1 out=$2 v=k8s.io/component-base/version
  shift 2
  (cd "$module" && CGO_ENABLED=0 GOWORK=off go build -v -trimpath -tags "$go_tags" -gcflags=all=-dwarf=false \
    -ldflags "-s -w -X $v.gitVersion=v$kubernetes -X $v.gitMajor=1 -X $v.gitMinor=${kubernetes:2:2} -X $v.gitTreeState=clean" -o "$out" "$@")
}

need_go() {
  command -v go >/dev/null || die "Go is not installed; $1 is built from Go modules here" "install Go 1.26 or newer, or Docker, or set CLUSTER=existing and KUBECONFIG"
}

# binaries: sets $bin, the folder with all of them; builds them unless this version of them is in the cache.
binaries() {
  bin=$cache/bin/$(key "$go_dir"/{,containerd/}{go.mod,go.sum} "$go_dir"/*/*.go "$here/build/go.sh")
  [ ! -e "$bin/.complete" ] || return 0
  need_go "Kubernetes"
  need_free 12 "$cache"
  lock "$cache/bin.lock" "it builds the cluster's programs"
  if [ ! -e "$bin/.complete" ]; then
    mkdir -p "$bin"
    step "Kubernetes $kubernetes, containerd, CoreDNS, helm, kind from Go modules (5 to 10 min when nothing is cached)" \
      build_binaries
    touch "$bin/.complete"
  fi
  unlock
}

build_binaries() {
  local n
  go_build "$go_dir" "$bin/" ./kube ./coredns ./pause ./node-cni helm.sh/helm/v4/cmd/helm sigs.k8s.io/kind
  go_build "$go_dir/containerd" "$bin/" "$containerd_cmd"/{containerd,containerd-shim-runc-v2,ctr}
  for n in "${kube_names[@]}"; do ln -sf kube "$bin/$n"; done
}
