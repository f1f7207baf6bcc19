#!/usr/bin/env bash
# The tests on other releases of glibc and CPython than this machine's: in folders that debootstrap makes
# of Debian's and Ubuntu's archives. What they have found is in docs/run.md, "Range".
#
#   tests/range/run.sh make SUITE…      makes the folder of each suite (debootstrap; half a gigabyte each)
#   tests/range/run.sh build            builds everything in the oldest of them, so that it runs in all
#   tests/range/run.sh test SUITE…      runs every test of the workspace in each
#   tests/range/run.sh python SUITE [PYTHON]   CPython's own tests about threads, plain and on fibers
#   tests/range/run.sh shell SUITE [COMMAND…]
#
# Needs root, debootstrap, and the archive keys of Ubuntu for its suites (ubuntu-archive-keyring).
# Everything is kept in $RANGE (default /var/tmp/timestop-range). Cargo and rustup are those of the caller:
# rustc asks for no more than glibc 2.17.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
range=${RANGE:-/var/tmp/timestop-range}
oldest=bullseye
cargo=${CARGO_HOME:-$HOME/.cargo}
rustup=${RUSTUP_HOME:-$HOME/.rustup}

# What the suite builds and runs with.
needs=gcc,g++,libc6-dev,python3,python3-venv,postgresql,redis-server,util-linux,procps,ca-certificates,openssl,tzdata

archive() { # suite: archive, key, components
    case $1 in
        focal | jammy | noble | questing | resolute)
            echo http://archive.ubuntu.com/ubuntu ubuntu-archive-keyring.gpg main,universe ;;
        *) echo http://deb.debian.org/debian debian-archive-keyring.gpg main ;;
    esac
}

python() { # suite: packages with CPython and its own tests
    case $1 in
        focal) echo libpython3.8-testsuite ;;
        bullseye) echo libpython3.9-testsuite ;;
        jammy) echo libpython3.10-testsuite ;;
        bookworm) echo libpython3.11-testsuite ;;
        noble) echo libpython3.12-testsuite ;;
        trixie) echo libpython3.13-testsuite ;;
        questing | resolute | forky) echo libpython3.14-testsuite ;;
    esac
}

make() {
    local suite=$1 mirror key components
    read -r mirror key components <<<"$(archive "$suite")"
    [ -e "$range/$suite/usr/bin/python3" ] && return
    # A debootstrap that is older than the suite knows a relative of it.
    local script=/usr/share/debootstrap/scripts/$suite
    [ -e "$script" ] || case $mirror in
        */ubuntu) script=${script%/*}/gutsy ;;
        *) script=${script%/*}/sid ;;
    esac
    mkdir -p "$range"
    debootstrap --variant=minbase --components="$components" --include="$needs,$(python "$suite")" \
        --keyring="/usr/share/keyrings/$key" "$suite" "$range/$suite" "$mirror" "$script"
}

# Runs a command in a folder: with this repository, cargo and a target folder for all suites, in namespaces
# of its own, so that nothing stays mounted and nothing stays running.
enter() {
    local root=$range/$1
    shift
    mkdir -p "$range/target" "$root$repository" "$root$cargo" "$root$rustup" "$root/target"
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child --propagation private bash -euc '
        root=$1 repository=$2 target=$3; shift 3
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --rbind /sys "$root/sys"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        for folder in "$repository" "$CARGO_HOME" "$RUSTUP_HOME"; do
            mount --bind "$folder" "$root$folder"
        done
        mount --bind "$target" "$root/target"
        mount --bind /etc/hosts "$root/etc/hosts"
        exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 CARGO_HOME="$CARGO_HOME" \
            RUSTUP_HOME="$RUSTUP_HOME" CARGO_TARGET_DIR=/target CARGO_NET_OFFLINE=true \
            PATH="$CARGO_HOME/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
            bash -c "cd \"\$0\"; exec \"\$@\"" "$repository" "$@"
    ' bash "$root" "$repository" "$range/target" "$@"
}

# The binaries as they were built, in any suite: not by cargo, which would build again what has changed.
run_tests() {
    local suite=$1 folder binary failed=0
    while read -r -u 3 folder binary; do
        echo "== $suite: $(basename "$binary")"
        enter "$suite" bash -c 'cd "$1"; exec "$2"' bash "$folder" "$binary" 3<&- || failed=1
    done 3<"$range/target/tests"
    return $failed
}

# CPython's own tests about threads, plain and on fibers: the last line of each, which is to be the same.
run_python() {
    local suite=$1 python=${2:-python3}
    # shellcheck disable=SC2016
    enter "$suite" bash -uc '
        suite=$1 python=$2; shift 2
        for file; do
            for how in "" "/target/debug/timestop run --strict"; do
                result=$(timeout 200 $how "$python" -m test "$file" 2>&1 </dev/null | tail -n 1)
                printf "%s %s %s: %s\n" "$suite" "$file" "${how:+on fibers}" "$result"
            done
        done
    ' bash "$suite" "$python" test_thread test_threading test_threading_local test_threadsignals \
        test_queue test_socketserver test_signal test_select test_selectors test_poll test_epoll \
        test_fork1 test_faulthandler
}
export CARGO_HOME=$cargo RUSTUP_HOME=$rustup

command=${1:-}
shift || true
case $command in
    make) for suite; do make "$suite"; done ;;
    build)
        make "$oldest"
        enter "$oldest" cargo build
        # One line a test binary: the folder of its crate, and the file.
        enter "$oldest" cargo test --workspace --no-run --message-format=json |
            python3 -c '
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["profile"]["test"]:
        print(os.path.dirname(message["manifest_path"]), message["executable"])
' >"$range/target/tests"
        ;;
    test) for suite; do run_tests "$suite"; done ;;
    python) run_python "$@" ;;
    shell)
        suite=$1
        shift
        enter "$suite" "${@:-bash}"
        ;;
    *)
        sed -n '2,/^set/s/^# \?//p' "${BASH_SOURCE[0]}"
        exit 2
        ;;
esac
