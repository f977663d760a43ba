# shellcheck shell=bash
# Sourced: clusters on an engine that can pull (Docker, podman), and clusters that exist already.

docker_prepare() { engine_prepare docker; }
podman_prepare() { engine_prepare podman; }
docker_create() { engine_create docker "$1"; }
podman_create() { engine_create podman "$1"; }

# Programs that the machine has are used; what is missing is built from the pinned Go modules.
engine_prepare() {
  command -v "$1" >/dev/null || die "$1 is not installed" "install it, or leave CLUSTER unset"
  "$1" info >/dev/null 2>&1 || die "$1 does not answer" "start it ($1 info tells why), or set CLUSTER to another kind"
  engine_tools=$cache/bin/tools-$(key "$go_dir"/go.{mod,sum} "$here/build/go.sh")
  mkdir -p "$engine_tools"
  local name missing=()
  for name in kubectl helm; do
    command -v "$name" >/dev/null || [ -x "$engine_tools/$name" ] || missing+=("$name")
  done
  # A node image belongs to a version of kind.
  [[ $(kind version 2>/dev/null) = "kind $kind_version."* ]] || [ -x "$engine_tools/kind" ] || missing+=(kind)
  [ ${#missing[@]} != 0 ] || return 0
  need_go "${missing[*]}"
  lock "$cache/bin.lock" "it builds the cluster's programs"
  for name in "${missing[@]}"; do
    case $name in
      kind) step "kind from its Go module" go_build "$go_dir" "$engine_tools/" sigs.k8s.io/kind ;;
      helm) step "helm from its Go module" go_build "$go_dir" "$engine_tools/" helm.sh/helm/v4/cmd/helm ;;
      kubectl) step "kubectl from its Go module" go_build "$go_dir" "$engine_tools/" k8s.io/kubernetes/cmd/kubectl ;;
    esac
  done
  unlock
}

engine_create() { # ENGINE WORKERS
  write_env "kind-$1" "$engine_tools" "$state/kubeconfig" "$1" ""
  kind_config "$1" "$2" >"$state/kind.yaml"
  step "kind create cluster, control plane and $2 workers" "$here/run" kind create cluster --name "$name" --image "$kind_node_image" --config "$state/kind.yaml" --retain --wait 180s
}

existing_prepare() {
  [ -n "${KUBECONFIG:-}" ] || die "CLUSTER=existing needs KUBECONFIG" "set it to the file that describes your cluster"
  [ -r "$KUBECONFIG" ] || die "KUBECONFIG=$KUBECONFIG cannot be read"
  command -v kubectl helm >/dev/null || die "kubectl and helm must be on PATH for CLUSTER=existing"
}

existing_create() {
  write_env existing "$here" "$(realpath "$KUBECONFIG")" none ""
  "$here/run" timeout 20 kubectl version >/dev/null || die "the cluster of $KUBECONFIG does not answer"
  [ "$1" = 0 ] || say "WORKERS is of no effect: the cluster exists"
}
