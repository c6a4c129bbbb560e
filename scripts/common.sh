# shellcheck shell=bash
# common.sh: what the scripts share. Source it from the checkout's root.
#
# Nothing outside the checkout is touched: PostgreSQL runs from a private copy of
# its binaries (build/pgNN) into which the extension is installed, with its own
# data directory, socket and port, as an unprivileged user also when root calls.

set -euo pipefail
# What root makes, the server's user reads; what is secret says so itself.
umask 022
if [ -n "${FACTORY_PG_MAJOR:-}" ]; then
	PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/$FACTORY_PG_MAJOR/bin/pg_config}
fi
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
		# Not from within a checkout that the user cannot enter.
		(
			case ${STATE:-}:$PWD in
			"$ROOT"/*) ;;
			*:"$ROOT"*) cd / ;;
			esac
			exec runuser -u "$(owner)" -- env HOME="${STATE:-/tmp}" "$@"
		)
	else
		"$@"
	fi
}

# Where our own files live: build/ in the checkout, or beside it in /var/tmp where
# the unprivileged user cannot reach the checkout (a clone in /root), or where its
# path is too long for a socket's.
state_dir() {
	local inside=$ROOT/build beside
	mkdir -p "$inside"
	if [ ${#inside} -le 70 ] && { [ "$(id -u)" != 0 ] || runuser -u "$(owner)" -- test -x "$inside" 2>/dev/null; }; then
		echo "$inside"
		return
	fi
	beside=/var/tmp/pg_factory-$(printf '%s' "$ROOT" | cksum | cut -d' ' -f1)
	# Anybody can make that name first: what is there must be ours.
	mkdir "$beside" 2>/dev/null || true
	if [ -L "$beside" ] || [ ! -d "$beside" ] || { [ ! -O "$beside" ] && [ "$(stat -c %U "$beside")" != "$(owner)" ]; }; then
		die "$beside belongs to somebody else; remove it, or move the checkout where the user \"$(owner)\" can enter"
	fi
	echo "$beside"
}

# A copy of the checkout's sources in DIR, readable by everyone; DIR/build stays.
copy_checkout() {
	local dir=$1
	mkdir -p "$dir"
	if [ ! -O "$dir" ] || [ -L "$dir" ]; then die "$dir belongs to somebody else; remove it"; fi
	find "$dir" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
	tar -C "$ROOT" --exclude=./build --exclude=./.git --exclude=./.demo --exclude='*.o' --exclude='*.so' -cf - . |
		tar -C "$dir" --no-same-owner --mode=a+rX -xf -
	chmod 755 "$dir"
}

# Goes on from a copy in /var/tmp where the server's user cannot read the checkout
# (a clone in /root): ensure_reachable scripts/NAME "$@", first thing in a script.
ensure_reachable() {
	[ "$(id -u)" = 0 ] || return 0
	if runuser -u "$(owner)" -- test -r "$ROOT/scripts/common.sh" -a -x "$ROOT/scripts" 2>/dev/null; then return 0; fi
	local script=$1 copy
	shift
	copy=/var/tmp/pg_factory-$(printf '%s' "$ROOT" | cksum | cut -d' ' -f1)-copy
	say "user $(owner) cannot read $ROOT: going on in $copy"
	copy_checkout "$copy"
	exec "$copy/$script" "$@"
}

# A folder for the server's socket: the given one, or a short one where the
# socket's path would not fit into the 107 bytes that the system allows.
socket_dir() {
	local dir=$1 short
	if [ ${#dir} -gt 80 ]; then
		short=/tmp/pg_factory-$(printf '%s' "$dir" | cksum | cut -d' ' -f1)
		[ -d "$short" ] || mkdir -m 755 "$short"
		[ -O "$short" ] || [ "$(stat -c %U "$short")" = "$(owner)" ] || die "$short belongs to somebody else; remove it"
		own_dir "$short"
		dir=$short
	fi
	printf '%s\n' "$dir"
}

# A folder of the server's user. mkdir as root, handed over.
own_dir() {
	mkdir -p "$1"
	if [ "$(id -u)" = 0 ]; then chown "$(owner)" "$1"; fi
}

# Where the private copy of PG_CONFIG's server is, or will be.
private_paths() {
	PG_MAJOR=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
	PG_TREE=$STATE/pg$PG_MAJOR
	PG_BIN=$PG_TREE$("$PG_CONFIG" --bindir)
	export PG_BIN PG_MAJOR
}

# Copies PostgreSQL's programs into $STATE/pgNN and links the rest: the server
# finds its libraries relative to its own binary, so this is a whole installation.
private_postgres() {
	local bin lib share tree
	private_paths
	bin=$("$PG_CONFIG" --bindir) lib=$("$PG_CONFIG" --pkglibdir) share=$("$PG_CONFIG" --sharedir) tree=$PG_TREE
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
	# A test puts other versions there.
	own_dir "$tree$share/extension"
}

# A cluster: init_cluster DIR 'line' 'line' ...; without page checksums, which 18 has
# unless told otherwise, so that all versions are alike.
init_cluster() {
	local dir=$1 plain=; shift
	if [ "$PG_MAJOR" -ge 18 ]; then plain=--no-data-checksums; fi
	own_dir "$dir"
	# Whoever reaches the socket is trusted.
	chmod 700 "$dir"
	as_owner "$PG_BIN/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync $plain >"$dir/initdb.log"
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$(socket_dir "$dir")'" "$@" |
		as_owner tee -a "$dir/data/postgresql.conf" >/dev/null
}

# SERVER_ENV: variables for the server alone, such as LD_PRELOAD.
start_cluster() { as_owner env ${SERVER_ENV[@]+"${SERVER_ENV[@]}"} "$PG_BIN/pg_ctl" -s -w -D "$1/data" -l "$1/server.log" start || { tail -20 "$1/server.log" >&2; return 1; }; }
stop_cluster() { if as_owner "$PG_BIN/pg_ctl" -D "$1/data" status >/dev/null 2>&1; then as_owner "$PG_BIN/pg_ctl" -s -w -m fast -D "$1/data" stop; fi; }
