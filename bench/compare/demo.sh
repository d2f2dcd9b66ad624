#!/usr/bin/env bash
# Shows what `paxbench compare` can tell apart on this machine, as it is: a build that spends a tenth more processor time
# in Apply must be called a regression (exit 4), and the same build against itself must not (exit 0), TIMES out of TIMES.
# usage: bench/compare/demo.sh [TIMES] [FLAGS of compare...]      or: make compare-demo TIMES=10
set -euo pipefail
cd "$(dirname "$0")/../.."
times=${1:-10}
shift || true
dir=$(mktemp -d ./compare-demo.XXXXXX)
trap 'rm -rf "$dir"' EXIT

plant=$(go list ./wire/plant).preset
go build -tags planted -o "$dir/same" ./cmd/paxbench
cp "$dir/same" "$dir/base"
go build -tags planted -ldflags "-X '$plant=slow apply'" -o "$dir/slow" ./cmd/paxbench

one() { # WHAT EXPECTED NUMBER
	local code=0 start=$SECONDS
	"$dir/base" compare --binary-a "$dir/base" --binary-b "$dir/$1" --data-dir "$dir/data" -q "${flags[@]}" >"$dir/report" || code=$?
	printf '%-4s against base %2d of %d: exit %d, wanted %d  %4d s  load %s  %s\n' "$1" "$3" "$times" "$code" "$2" $((SECONDS - start)) "$(cut -d' ' -f1 /proc/loadavg)" \
		"$(awk '/pairs, interleaved/ { n = $1 " pairs" } /^  cpu \(gate\)/ { print n ": cpu B/A " $7 ", " $8 " to " $10 ", detects " $13 }' "$dir/report")"
	[ "$code" = "$2" ] && return
	wrong=$((wrong + 1))
	cat "$dir/report"
}

flags=("$@")
wrong=0
for i in $(seq "$times"); do
	one slow 4 "$i"
	one same 0 "$i"
done
echo "$((2 * times - wrong)) of $((2 * times)) comparisons ended as they must"
[ "$wrong" = 0 ]
