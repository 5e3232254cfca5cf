// Package compose runs the compose stack for real: docs/deployment.md's runbook,
// rolling updates under load, rollbacks, and what can go wrong. It needs Docker
// Engine and root, so it runs with make e2e-compose only.
//
// What is not the real thing here: base images are stand-ins (images.sh), plain
// PostgreSQL 16 stands in for TimescaleDB's image, and Grafana's image can't be had:
// its lines of the runbook are printed as NOT RUN.
package compose
