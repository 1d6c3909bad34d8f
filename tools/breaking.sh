#!/bin/sh
# Compares api/ with that of the commit before: where this branch left origin/main, or else the parent. Nothing is fetched.
set -eu
cd "$(dirname "$0")/.."

if ! head=$(git rev-parse --verify --quiet HEAD); then
	echo "buf breaking: skipped, there is no commit to compare with"
	exit 0
fi
base=$(git merge-base HEAD origin/main 2>/dev/null || true)
if [ -z "$base" ] || [ "$base" = "$head" ]; then
	base=$(git rev-parse --verify --quiet HEAD^ || true)
fi
if [ -z "$base" ] || ! git cat-file -e "$base:api" 2>/dev/null; then
	echo "buf breaking: skipped, the commit before has no api/ (or is not in this clone)"
	exit 0
fi

against=.build/against
rm -rf "$against"
mkdir -p "$against/.build"
git archive "$base" api buf.yaml | tar -x -C "$against"
cp -R .build/protos "$against/.build/protos"
go tool -modfile=tools/go.mod buf breaking --against "$against"
echo "buf breaking: nothing breaks clients of $(git log -1 --format='%h (%s)' "$base")"
