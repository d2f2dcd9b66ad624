#!/usr/bin/env bash
# Compares the working tree with another revision on this machine: both are built, the exact counts come first, then the
# times of both, interleaved. The exit code is that of `paxbench compare`: 4 is a regression.
# usage: bench/compare/revisions.sh BASE [FLAGS of compare...]      or: make compare BASE=main
set -euo pipefail
cd "$(dirname "$0")/../.."
base=${1:-}
[ -n "$base" ] || { echo "give a revision to compare with, as in: make compare BASE=main" >&2; exit 2; }
shift
commit=$(git rev-parse --verify --quiet "$base^{commit}") || { echo "there is no revision $base" >&2; exit 2; }
dir=$(mktemp -d ./compare.XXXXXX)
trap 'git worktree remove --force "$dir/tree" 2>/dev/null || true; rm -rf "$dir"' EXIT

git worktree add --quiet --detach "$dir/tree" "$commit"
(cd "$dir/tree" && go build -o ../base ./cmd/paxbench)
go build -o "$dir/head" ./cmd/paxbench
"$dir/head" compare --binary-a "$dir/base" --name-a "base, $base ($(git rev-parse --short "$commit"))" \
  --binary-b "$dir/head" --name-b "head, $(git describe --always --dirty=' with changes')" --data-dir "$dir/data" "$@"
