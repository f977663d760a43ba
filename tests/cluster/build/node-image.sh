# shellcheck shell=bash
# Sourced: a kind node image without Docker and without a registry: a Debian root, kind's own files out of its Go
# module, the programs of go.sh, and the control plane's images already in the node's containerd.

node_packages=systemd,systemd-sysv,dbus,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,libseccomp2,e2fsprogs,ca-certificates,curl,jq,procps,runc,containernetworking-plugins
proxy_packages=nftables,iptables,conntrack,iproute2
metrics_server_image=registry.k8s.io/metrics-server/metrics-server:v0.9.0

# node_image: sets $node_image, and makes it unless it is in the image store.
node_image() {
  node_image=localhost/workercluster-node:v$kubernetes-$(key "$bin" "$here"/build/{node-image.sh,debian.sh,mkimage.py} "$here/build/default-cni.yaml")
  if engine_images image exists "$node_image" 2>/dev/null; then return 0; fi
  need_free 8 "$cache"
  lock "$cache/image.lock" "it builds the node image"
  if ! engine_images image exists "$node_image" 2>/dev/null; then
    debian_root node minbase "$node_packages"; local root_tar=$debian
    debian_root kube-proxy extract "$proxy_packages"; local proxy_tar=$debian
    rm -rf "$cache"/node-image-*
    work=$cache/node-image-$$
    mkdir -p "$work"
    step "control plane's images" control_plane_images "$work" "$proxy_tar"
    step "node's file system" node_root "$work" "$root_tar"
    step "images into the node's store" preload "$work"
    step "node image" import_root "$work" "$node_image"
    rm -rf "$work"
  fi
  unlock
}

control_plane_images() { # WORK PROXY_ROOT
  local n listed iptables=() kube=(usr/local/bin/kube="$bin/kube")
  mkdir -p "$1/images"
  listed=$("$bin/kubeadm" config images list --kubernetes-version "v$kubernetes")
  printf '%s\n' "$listed"
  called() { grep "/$1:" <<<"$listed"; }
  for n in kube-apiserver kube-controller-manager kube-scheduler kube-proxy etcd metrics-server; do kube+=("usr/local/bin/$n=->kube"); done
  # One image under five names: the manifests call each program by its own name.
  "$here/build/mkimage.py" "$1/images/kube.tar" \
    "$(called kube-apiserver),$(called kube-controller-manager),$(called kube-scheduler),$(called etcd)" "${kube[@]}"
  "$here/build/mkimage.py" "$1/images/metrics-server.tar" "$metrics_server_image" "${kube[@]}" -- /usr/local/bin/metrics-server
  "$here/build/mkimage.py" "$1/images/coredns.tar" "$(called coredns)" coredns="$bin/coredns" -- /coredns
  "$here/build/mkimage.py" "$1/images/pause.tar" "$(called pause)" pause="$bin/pause" -- /pause
  for n in iptables ip6tables; do
    iptables+=("usr/sbin/$n=->xtables-nft-multi" "usr/sbin/$n-save=->xtables-nft-multi" "usr/sbin/$n-restore=->xtables-nft-multi")
  done
  "$here/build/mkimage.py" "$1/images/kube-proxy.tar" "$(called kube-proxy),localhost/node-cni:1" --root="$2" \
    usr/local/bin/kube-proxy="$bin/kube" usr/local/bin/node-cni="$bin/node-cni" "${iptables[@]}"
  called pause >"$1/pause"
}

node_root() { # WORK DEBIAN_ROOT
  local kind_module files f
  kind_module=$(cd "$go_dir" && go list -m -f '{{.Dir}}' sigs.k8s.io/kind)
  [ -n "$kind_module" ] || kind_module=$(cd "$go_dir" && go mod download -json sigs.k8s.io/kind | jq -r .Dir)
  files=$kind_module/images/base/files
  mkdir -p "$1/root"
  cd "$1/root"
  tar -xf "$2"
  (cd "$files" && find etc kind -type f) | while read -r f; do install -D -m 0644 "$files/$f" "$f"; done
  install -m 0755 -t kind/bin "$files"/kind/bin/*
  install -D -m 0755 -t usr/local/bin "$files"/usr/local/bin/*
  # What a container has no use for, as kind's own image removes it.
  rm -f usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
    usr/lib/systemd/system/{multi-user,local-fs}.target.wants/* etc/systemd/system/*.wants/* \
    usr/lib/systemd/system/sockets.target.wants/*{udev,initctl}* usr/lib/systemd/system/basic.target.wants/*
  echo ReadKMsg=no >>etc/systemd/journald.conf
  [ -e sbin/init ] || ln -s /usr/lib/systemd/systemd sbin/init
  systemctl --root="$PWD" enable kubelet.service containerd.service undo-mount-hacks.service
  systemctl --root="$PWD" mask systemd-binfmt.service
  mkdir -p etc/kubernetes/manifests etc/cni/net.d opt/cni/bin kind/manifests LICENSES
  cp usr/lib/cni/{host-local,loopback,ptp,portmap,bridge} opt/cni/bin/
  install -m 0755 "$bin"/{containerd,ctr,containerd-shim-runc-v2} usr/local/bin/
  install -m 0755 "$bin/kube" usr/bin/
  for f in kubelet kubeadm kubectl; do ln -s kube "usr/bin/$f"; done
  "$bin/ctr" oci spec | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' >etc/containerd/cri-base.json
  sed -i "s#^  sandbox_image = .*#  sandbox_image = \"$(cat "$1/pause")\"#" etc/containerd/config.toml
  printf 'v%s' "$kubernetes" >kind/version
  cp "$here/build/default-cni.yaml" kind/manifests/
  cat >kind/manifests/default-storage.yaml <<'Y'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/host-path
Y
  : >etc/machine-id
  rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/*
}

# A containerd of our own on the node's folder takes the images in, as kind does in its build container.
preload() { # WORK
  local ctd=$1/ctd pid f rc=0
  mkdir -p "$ctd"
  cat >"$ctd/config.toml" <<C
version = 3
root = "$1/root/var/lib/containerd"
state = "$ctd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
  address = "$ctd/sock"
[ttrpc]
  address = "$ctd/sock.ttrpc"
C
  "$bin/containerd" -c "$ctd/config.toml" >"$ctd/log" 2>&1 &
  pid=$!
  for _ in $(seq 100); do
    if "$bin/ctr" -a "$ctd/sock" version >/dev/null 2>&1; then break; fi
    sleep 0.1
  done
  for f in "$1"/images/*.tar; do
    "$bin/ctr" -a "$ctd/sock" -n k8s.io images import --label=io.cri-containerd.pinned=pinned --no-unpack "$f" || rc=$?
  done
  kill "$pid"
  wait "$pid" || true
  [ $rc = 0 ] || cat "$ctd/log"
  return $rc
}

import_root() { # WORK NAME
  tar --numeric-owner -C "$1/root" -cf - . | engine_images import --change 'ENV container=docker' --change 'STOPSIGNAL SIGRTMIN+3' \
    --change 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]' - "$2"
}
