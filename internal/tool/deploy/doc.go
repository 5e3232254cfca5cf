// Package deploy updates the compose stack of this repository and takes updates
// back: preflight, up, validate, rollback.
//
// It calls git, docker and docker-compose, and owns .deploy/ (its record of what
// was deployed) and reports/. Its invariants: whatever fails, the old version is
// still serving or is started again; no volume is touched but by a full rollback
// that was asked for; an earlier deploy that was cut off is noticed and cleaned up;
// a dry run changes nothing and prints every command.
package deploy
