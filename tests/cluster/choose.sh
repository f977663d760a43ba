# shellcheck shell=bash
# Sourced: which kind of cluster this machine gets. CLUSTER says it; without, the first that can work is taken.

choose() { # sets $kind_of_cluster
  kind_of_cluster=${CLUSTER:-}
  case $kind_of_cluster in
    "") ;;
    kind-docker | kind-podman | kind-offline | existing)
      say "cluster: $kind_of_cluster (CLUSTER says so)"
      return ;;
    *) die "CLUSTER=$CLUSTER is not known" "it is one of kind-docker, kind-podman, kind-offline, existing" ;;
  esac
  if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    kind_of_cluster=kind-docker
    say "cluster: kind with Docker"
  elif [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null; then
    kind_of_cluster=kind-offline
    say "cluster: kind without an engine or a registry, built from Debian packages and Go modules (no Docker engine answers here;" \
      "with podman and a registry at hand: CLUSTER=kind-podman)"
  elif command -v podman >/dev/null; then
    kind_of_cluster=kind-podman
    say "cluster: kind with podman"
  else
    die "neither Docker nor podman answers, and the offline way needs root on Debian" \
      "start Docker, or run as root on Debian 12, or set CLUSTER=existing and KUBECONFIG"
  fi
}
