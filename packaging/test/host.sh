#!/bin/bash
# host.sh - sourced by the suites that boot a Debian in systemd-nspawn: the host, and the words they are written in.
# Before: release=bookworm|trixie, bin=FOLDER, and a function last_words. After: work, ip, on, outside, step, ...
# Root. Keeps a tree of each Debian in HOKKU_TEST_CACHE (/var/cache/hokku-test); everything else is temporary.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${HOKKU_TEST_CACHE:-/var/cache/hokku-test}
case ${release:?} in
bookworm) debian="Debian 12" ;;
trixie) debian="Debian 13" ;;
*) echo "I know bookworm and trixie, not $release" >&2; exit 2 ;;
esac
[ "$(id -u)" = 0 ] || { echo "$0 needs root: it boots a container" >&2; exit 2; }
"$here/.ci/deps" deb

work=$(mktemp -d)
id=hk$$
lab=$id-lab net=$id-net name=$id
ip=10.78.0.2
passed=0 failed=0 nspawn=

# --- the host -------------------------------------------------------------------------------------------------------

# One tree serves every run. The packages that hokku depends on are in apt's cache there, not installed: the host has no
# network but a wire to this machine.
make_tree() {
  local script golden lock lists=()
  script=$(declare -f make_tree | sha256sum | cut -c1-12)
  golden=$cache/$release-$script
  mkdir -p "$cache"
  # Another run waits until this one has its copy.
  exec {lock}>"$cache/$release.lock"
  flock "$lock"
  if [ ! -d "$golden" ]; then
    rm -rf "$cache/$release"-*
    local mirror
    # This machine's own mirror.
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | sort -u | grep -m1 '/debian/*$') || mirror=http://deb.debian.org/debian
    mirror=${mirror%/}
    lists=("deb $mirror $release main" "deb $mirror-security $release-security main")
    # shellcheck disable=SC2016
    mmdebstrap -q --variant=minbase --skip=cleanup/apt --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
      --include=systemd,systemd-sysv,libpam-systemd,dbus,openssh-server,ca-certificates,iproute2,procps,kmod,netbase \
      --customize-hook='chroot "$1" apt-get -qq -y --no-install-recommends --download-only install git curl tzdata cloud-init' \
      "$release" "$golden.new" "${lists[@]}"
    mv "$golden.new" "$golden"
  fi
  cp -a --reflink=auto "$golden" "$work/tree"
  exec {lock}>&-
}

configure_tree() {
  local tree=$work/tree unit
  ssh-keygen -q -t ed25519 -N '' -f "$work/admin"
  ssh-keygen -q -t ed25519 -N '' -C dev@laptop -f "$work/dev"
  install -d -m 700 "$tree/root/.ssh"
  install -m 600 "$work/admin.pub" "$tree/root/.ssh/authorized_keys"
  install -m 644 "$work/dev.pub" "$tree/root/dev.pub"
  : >"$tree/etc/machine-id"
  rm -f "$tree/etc/hostname" "$tree/etc/resolv.conf"
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$tree/etc/hosts"
  for unit in apt-daily.timer apt-daily-upgrade.timer systemd-networkd.service systemd-resolved.service getty@tty1.service console-getty.service; do
    ln -sfn /dev/null "$tree/etc/systemd/system/$unit"
  done
  printf 'UseDNS no\n' >"$tree/etc/ssh/sshd_config.d/10-test.conf"
}

make_net() {
  ip netns add "$lab"
  ip netns add "$net"
  ip -n "$lab" link set lo up
  ip -n "$net" link set lo up
  ip -n "$lab" link add wire0 type veth peer name host0 netns "$net"
  ip -n "$lab" addr add 10.78.0.1/24 dev wire0
  ip -n "$net" addr add "$ip/24" dev host0
  ip -n "$lab" link set wire0 up
  ip -n "$net" link set host0 up
}

# boot TREE : until sshd answers.
boot() {
  # In cgroups of its own, never in this machine's root ones.
  # shellcheck disable=SC2016
  setsid bash -c '
    for kind in unified systemd memory cpu cpuacct pids; do
      [ -e "/sys/fs/cgroup/$kind/cgroup.procs" ] || continue
      mkdir -p "/sys/fs/cgroup/$kind/$1" && echo $$ >"/sys/fs/cgroup/$kind/$1/cgroup.procs"
    done
    export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
    [ -d /run/systemd/system ] || keep=--keep-unit
    # 133: it wants to be started again, which is what a reboot is where no unit does it.
    status=133
    while [ "$status" = 133 ]; do
      status=0
      systemd-nspawn -q -D "$2" --boot --hostname="$1" --machine="$1" --register=no ${keep-} \
        --network-namespace-path="/run/netns/$3" || status=$?
    done' _ "$name" "$1" "$net" </dev/null >>"$work/console" 2>&1 &
  nspawn=$!
  wait_for 30 on true
}

# shellcheck disable=SC2317
finish() {
  local status=$?
  trap '' INT TERM HUP
  set +e
  if [ -n "$nspawn" ]; then
    [ "$status" = 0 ] || last_words >&2
    # The loop and nspawn, then what runs inside: nspawn's own death does not end it.
    kill -9 -- "-$nspawn" 2>/dev/null
    ip netns pids "$net" | xargs -r kill -9 2>/dev/null
    wait "$nspawn" 2>/dev/null
  fi
  ip netns del "$lab"
  ip netns del "$net"
  # The container's processes end a moment after it; until then neither goes.
  local i left
  for ((i = 0; i < 100; i++)); do
    rm -rf "$work" 2>/dev/null
    find /sys/fs/cgroup/*/"$name" -depth -type d -exec rmdir {} \; 2>/dev/null
    left=$(ls -d "$work" /sys/fs/cgroup/*/"$name" 2>/dev/null)
    [ -n "$left" ] || break
    sleep 0.1
  done
  [ -z "$left" ] || { echo "could not be removed: $left" >&2; status=1; }
  echo
  echo "$passed passed, $failed failed, in $SECONDS s ($debian in systemd-nspawn, kernel $(uname -r))"
  [ "$status" = 0 ] && [ "$failed" = 0 ] && [ "$passed" -gt 0 ] || exit 1
}

# --- words ----------------------------------------------------------------------------------------------------------

# Nothing of the user's own settings is read.
export HOME=$work GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
outside() { ip netns exec "$lab" "$@"; }
ssh_options=(-q -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=2 -o IdentitiesOnly=yes)
export GIT_SSH_COMMAND="ssh ${ssh_options[*]} -i $work/dev"
on() { outside ssh "${ssh_options[@]}" -i "$work/admin" "root@$ip" "$@"; }
now() { date +%s%N; }
ms() { echo $((($(now) - $1) / 1000000)); }

# wait_for SECONDS COMMAND... : until it succeeds.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { echo "still failing: $*" >&2; "$@"; return 1; }
    sleep 0.05
  done
}

# step NAME COMMAND... : one line with its time; what it said only when it failed. Nothing runs after a failure, since
# each step stands on the one before.
step() {
  local what=$1 began status=0
  shift
  began=$(now)
  # A subshell with `set -e` of its own: in an `if` or after `||` it would be off.
  set +e
  (set -e; "$@") >"$work/said" 2>&1
  status=$?
  set -e
  if [ "$status" = 0 ]; then
    passed=$((passed + 1))
    printf 'ok    %7d ms  %s\n' "$(ms "$began")" "$what"
    sed -n 's/^NOTE /                  /p' "$work/said"
  else
    failed=$((failed + 1))
    printf 'FAIL  %7d ms  %s\n' "$(ms "$began")" "$what"
    sed 's/^/    /' "$work/said"
    exit 1
  fi
}

same() { [ "$1" = "$2" ] || { printf 'expected: %s\nbut it is: %s\n' "$1" "$2"; return 1; }; }
# Not `!`, which a failing step would not notice.
fails() { if "$@"; then echo "this should have failed: $*"; return 1; fi; }

apt_install() { on "DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -y --no-install-recommends --allow-downgrades install $1"; }
send() { tar -C "$(dirname "$1")" -cf - "$(basename "$1")" | on tar -xf - -C /root --no-same-owner; }
