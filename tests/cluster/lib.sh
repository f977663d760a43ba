# shellcheck shell=bash
# Sourced by every script here: names, paths, messages and locks. Forks as little as it can, because `run` sources it.
set -Eeuo pipefail
trap 'echo "cluster: ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND failed ($?)" >&2' ERR

here=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${here%/tests/cluster}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/workercluster

# One cluster per checkout: its name is made from the checkout's path, so that two checkouts never meet.
if [ -z "${CLUSTER_NAME:-}" ]; then
  sum=$(cksum <<<"$root")
  CLUSTER_NAME=wc-${sum%% *}
fi
name=$CLUSTER_NAME
state=$cache/clusters/$name # what `up` leaves for the others; `$state/env` exists while the cluster does
rundir=/run/workercluster/$name # sockets, locks and pids of the engine: gone after a reboot, as they must be
netns=/run/netns/$name
pids=$cache/pids/$name

say() { printf '[%3ds] %s\n' "$SECONDS" "$*" >&2; }
die() { # what is wrong; what to do about it
  printf 'cluster: %s\n' "$1" >&2
  shift
  [ $# = 0 ] || printf '         %s\n' "$@" >&2
  exit 1
}

# step NAME CMD…: runs a command with its output in a log, shows what runs and how long it has taken. The command is a
# process group of its own, so that an interrupt ends all of it, and recorded, so that the next run ends what a killed one left.
step() {
  local what=$1 log=$cache/logs/$name/${1//[^a-zA-Z0-9]/-}.log start=$SECONDS pid rc=0 last=$SECONDS
  shift
  mkdir -p "${log%/*}"
  say "$what …"
  set -m
  without_locks "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  set +m
  record "step-$$" "$pid"
  # shellcheck disable=SC2064 # the pid of now
  trap "kill -- -$pid 2>/dev/null || true" INT TERM
  while [ -d "/proc/$pid" ]; do
    sleep 0.2 || true
    if [ $((SECONDS - last)) -ge 30 ]; then
      last=$SECONDS
      say "$what … $(progress "$log")"
    fi
  done
  wait "$pid" || rc=$?
  trap - INT TERM
  rm -f "$pids/step-$$"
  if [ $rc -gt 128 ]; then
    say "$what: interrupted"
    exit $rc
  fi
  if [ $rc != 0 ]; then
    tail -n 25 "$log" >&2
    die "$what failed (exit code $rc)" "the whole log: $log" "free at $cache: $(df -h --output=avail "$cache" | tail -1 | tr -d ' ')"
  fi
  say "$what: $((SECONDS - start)) s"
}

progress() { # go build -v prints one package per line
  local n
  n=$(grep -c '^[a-z0-9.-]*/[^ ]*$' "$1" || true)
  [ "$n" -lt 10 ] || printf '%s packages' "$n"
}

locks=()
# lock FILE WHAT: until this script ends; a second one waits and says for whom.
lock() {
  mkdir -p "$(dirname "$1")"
  local fd
  exec {fd}<>"$1"
  locks+=("$fd")
  if ! flock -n "$fd"; then
    say "waiting: $(cat "$1" 2>/dev/null || echo another run) holds $1 ($2)"
    flock "$fd"
  fi
  echo "process $$ ($0, checkout $root)" >"$1"
}

unlock() { # the last one taken
  local fd=${locks[-1]}
  unset 'locks[-1]'
  exec {fd}>&-
}

# What outlives a script (a container's monitor, a name server) must not inherit its locks.
without_locks() { # in a subshell; its caller tells of a failure
  local fd
  trap - ERR
  for fd in "${locks[@]}"; do exec {fd}>&-; done
  "$@"
}

need_free() { # GIGABYTES FOLDER
  local free
  mkdir -p "$2"
  free=$(df --output=avail -BG "$2" | tail -1 | tr -dc 0-9)
  [ "$free" -ge "$1" ] || die "only $free GB are free at $2, $1 GB are needed" "free some, or set XDG_CACHE_HOME to a folder on a larger disk"
}

# kind_of_env: which kind of cluster `up` has made, or began to make; empty without one.
kind_of_env() { [ ! -r "$state/env" ] || sed -n 's/^export CLUSTER=\([a-z-]*\).*/\1/p' "$state/env"; }

# key FILE|STRING…: a short name for content, for the cache.
key() {
  local x
  for x in "$@"; do if [ -f "$x" ]; then cat "$x"; else echo "$x"; fi; done | sha256sum | cut -c1-12
}

# packages NAME…: Debian packages that the offline way needs; installs what is missing, and says so.
packages() {
  local missing=() p
  for p in "$@"; do
    dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q ' installed$' || missing+=("$p")
  done
  [ ${#missing[@]} != 0 ] || return 0
  command -v apt-get >/dev/null || die "these programs are missing: ${missing[*]}" "install them, or Docker, or set CLUSTER=existing and KUBECONFIG"
  [ "$(id -u)" = 0 ] || die "Debian packages are missing: ${missing[*]}" "run: sudo apt-get install --no-install-recommends ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  step "apt update" apt-get -o DPkg::Lock::Timeout=120 update
  step "apt install" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${missing[@]}"
}

# Programs that may outlive their script (kwok, forward, an unfinished step) are known by id and start time, so that
# nothing else is ever ended.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
record() { # NAME PID
  mkdir -p "$pids"
  echo "$2 $(start_time "$2")" >"$pids/$1"
}
recorded() { # NAME: does it run?
  local pid start
  [ -r "$pids/$1" ] && read -r pid start <"$pids/$1" && [ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ]
}
stop_recorded() { # NAME
  local pid _
  if recorded "$1"; then
    read -r pid _ <"$pids/$1"
    # A step is a process group.
    if [[ $1 = step-* ]]; then kill -- "-$pid" || true; else kill "$pid" || true; fi
  fi
  rm -f "$pids/$1"
}
stop_orphaned_steps() {
  local f
  for f in "$pids"/step-*; do
    [ ! -e "$f" ] || [ -d "/proc/${f##*-}" ] || stop_recorded "${f##*/}"
  done
}
