# shellcheck shell=bash
# Sourced: Debian file systems as tar files, made once from Debian's packages.

debian_suite=bookworm

# debian_root NAME VARIANT PACKAGES: sets $debian to the tar file.
debian_root() {
  debian=$cache/debian/$1-$debian_suite-$(key "$2 $3").tar
  [ ! -e "$debian" ] || return 0
  mkdir -p "$cache/debian"
  step "Debian root: $1" mmdebstrap --quiet --variant="$2" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    ${3:+--include="$3"} "$debian_suite" "$debian.part.tar"
  mv "$debian.part.tar" "$debian"
}
