#!/usr/bin/env bash
# The compose stack for real (make e2e-compose): Docker Engine and docker-compose from
# Debian, stand-ins for base images that can't be pulled, then e2e/compose.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
for pair in dockerd:docker.io docker-compose:docker-compose debootstrap:debootstrap jq:jq curl:curl iptables:iptables; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "make e2e-compose needs: ${missing[*]}. On Debian, as root: apt-get install ${missing[*]}" >&2
    exit 2
  fi
  echo "installing: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-upgrade "${missing[@]}" >/dev/null
fi
started=
if ! docker info >/dev/null 2>&1; then
  setsid nohup dockerd >/var/tmp/pganalytics-dockerd.log 2>&1 </dev/null &
  started=1
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 0.5; done
  docker info >/dev/null || { tail -5 /var/tmp/pganalytics-dockerd.log >&2; exit 1; }
fi
finish() {
  code=$?
  # Only a daemon that was started here ends here.
  [ -z "$started" ] || kill "$(cat /var/run/docker.pid)" 2>/dev/null || true
  exit $code
}
trap finish EXIT
e2e/compose/images.sh
PGA_TEST_COMPOSE=1 go test -count=1 -timeout 60m -v "$@" ./e2e/compose
