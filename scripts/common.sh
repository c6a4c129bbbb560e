# shellcheck shell=bash
# common.sh: what the scripts share. Source it from the checkout's root.
#
# Nothing outside the checkout is touched: PostgreSQL runs from a private copy of
# its binaries (build/pgNN) into which the extension is installed, with its own
# data directory, socket and port, as an unprivileged user also when root calls.

set -euo pipefail
PG_CONFIG=${PG_CONFIG:-pg_config}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# step TEXT LOG COMMAND...: runs the command (in a subshell, its words into LOG),
# shows how long it takes, and its last words where it fails.
step() {
	local text=$1 log=$2 begun=$SECONDS status ticker=
	shift 2
	rm -f "$log"
	printf '%s ...' "$text"
	if [ -t 1 ]; then
		while sleep 1 && kill -0 $$ 2>/dev/null; do printf '\r%s ... %s s' "$text" $((SECONDS - begun)); done &
		ticker=$!
	fi
	set +e
	(set -e; "$@") >"$log" 2>&1 </dev/null
	status=$?
	set -e
	if [ -n "$ticker" ]; then
		kill "$ticker" 2>/dev/null || true
		wait "$ticker" 2>/dev/null || true
		printf '\r%s ...' "$text"
	fi
	if [ "$status" != 0 ]; then
		printf ' failed after %s s\n' $((SECONDS - begun))
		tail -n 20 "$log" >&2
		die "$text: failed; the whole log is $log"
	fi
	printf ' %s s\n' $((SECONDS - begun))
}

# The user the server runs as: PostgreSQL refuses root.
owner() { if [ "$(id -u)" = 0 ]; then echo "${FACTORY_OS_USER:-postgres}"; else id -un; fi; }

# Run a command as that user.
as_owner() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u "$(owner)" -- env HOME="${STATE:-/tmp}" "$@"
	else
		"$@"
	fi
}

# Where our own files live: build/ in the checkout, or beside it in /var/tmp
# where the unprivileged user cannot reach the checkout (a clone in /root).
state_dir() {
	local inside=$ROOT/build
	mkdir -p "$inside"
	if [ "$(id -u)" != 0 ] || runuser -u "$(owner)" -- test -x "$inside" 2>/dev/null; then
		echo "$inside"
	else
		echo "/var/tmp/pg_factory-$(printf '%s' "$ROOT" | cksum | cut -d' ' -f1)"
	fi
}

# A folder of the server's user. mkdir as root, handed over.
own_dir() {
	mkdir -p "$1"
	if [ "$(id -u)" = 0 ]; then chown "$(owner)" "$1"; fi
}

# Copies PostgreSQL's programs into $STATE/pgNN and links the rest: the server
# finds its libraries relative to its own binary, so this is a whole installation.
private_postgres() {
	local bin lib share tree
	bin=$("$PG_CONFIG" --bindir) lib=$("$PG_CONFIG" --pkglibdir) share=$("$PG_CONFIG" --sharedir)
	PG_MAJOR=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
	tree=$STATE/pg$PG_MAJOR
	PG_BIN=$tree$bin
	if [ ! -x "$PG_BIN/postgres" ] || [ "$bin/postgres" -nt "$PG_BIN/postgres" ]; then
		rm -rf "$tree"
		mkdir -p "$PG_BIN" "$tree$lib" "$tree$share"
		cp -a "$bin/." "$PG_BIN/"
		cp -as "$lib/." "$tree$lib/"
		cp -as "$share/." "$tree$share/"
	fi
	# A copy of an installed pg_factory must not be written through a link.
	rm -f "$tree$lib"/pg_factory.so "$tree$share"/extension/pg_factory*
	make -s -C "$ROOT" PG_CONFIG="$PG_CONFIG" DESTDIR="$tree" install >"$STATE/install.log" 2>&1 ||
		{ cat "$STATE/install.log" >&2; die "the extension could not be installed into $tree"; }
	export PG_BIN PG_MAJOR
}

# A cluster: init_cluster DIR 'line' 'line' ...
init_cluster() {
	local dir=$1; shift
	own_dir "$dir"
	as_owner "$PG_BIN/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log"
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$dir'" "$@" |
		as_owner tee -a "$dir/data/postgresql.conf" >/dev/null
}

start_cluster() { as_owner "$PG_BIN/pg_ctl" -s -w -D "$1/data" -l "$1/server.log" start || { tail -20 "$1/server.log" >&2; return 1; }; }
stop_cluster() { if as_owner "$PG_BIN/pg_ctl" -D "$1/data" status >/dev/null 2>&1; then as_owner "$PG_BIN/pg_ctl" -s -w -m fast -D "$1/data" stop; fi; }
