# One static binary in an image of nothing else. Two targets differ in what they run:
# backend and collector.
FROM node:20-bookworm-slim AS ui
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund --loglevel=error
COPY . /src
RUN npm run --silent build

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=ui /src/web/dist web/dist
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /out/pganalytics \
      -ldflags "-s -w -X github.com/pganalytics/pganalytics/internal/app.Version=$(cat VERSION) -X github.com/pganalytics/pganalytics/internal/app.Commit=$COMMIT" \
      ./cmd/pganalytics \
 && mkdir -p /out/data/collector && chmod 0700 /out/data/collector

FROM scratch AS program
ARG COMMIT=unknown
LABEL org.opencontainers.image.title=pgAnalytics org.opencontainers.image.licenses=Apache-2.0 org.opencontainers.image.revision=$COMMIT
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/pganalytics /pganalytics
# A named volume takes the owner of the folder that it covers.
COPY --from=build --chown=10001:10001 /out/data /var/lib/pganalytics
USER 10001:10001
ENTRYPOINT ["/pganalytics"]

FROM program AS backend
ENV LISTEN=0.0.0.0 PORT=8080
EXPOSE 8080
HEALTHCHECK --interval=2s --timeout=5s --start-period=20s --retries=5 CMD ["/pganalytics", "health"]
CMD ["backend"]

FROM program AS collector
VOLUME /var/lib/pganalytics/collector
HEALTHCHECK --interval=2s --timeout=5s --start-period=20s --retries=5 CMD ["/pganalytics", "health", "--data-dir", "/var/lib/pganalytics/collector"]
CMD ["collector", "--config", "/etc/pganalytics/config.toml"]
