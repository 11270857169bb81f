#!/bin/sh
# Make .venv beside this file and install minidistill in it, with the extras that are given.
set -eu

called_from=$PWD
CDPATH='' cd -- "$(dirname -- "$0")"
# The outer echo, whose argument has no quotes, puts the names on one line.
known=$(echo $(sed -n '/^\[project.optional-dependencies\]/,/^\[/s/^\([a-z0-9_-]*\) = .*/\1/p' pyproject.toml))

fail() {
  printf 'error: %s\n' "$1" >&2
  exit "${2:-1}"
}

is_known() {
  for name in $known; do
    [ "$name" != "$1" ] || return 0
  done
  return 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "this must be run as root, and there is no sudo: $*"
  fi
}

make_venv() {
  said=$(python3 -m venv --clear .venv 2>&1)
}

case ${1:-} in
  -h | --help)
    echo 'usage: sh setup.sh [EXTRA ...]'
    echo 'Make .venv beside this file and install minidistill in it. It may be called again, also for further extras.'
    echo "EXTRA: any of $known; without one it is plots progress"
    exit
    ;;
esac

[ $# -gt 0 ] || set -- plots progress
extras=
for extra; do
  is_known "$extra" || fail "EXTRA must be one of $known, got '$extra'" 2
  extras=${extras:+$extras,}$extra
done

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  command -v python3 >/dev/null || fail 'python3 must be Python 3.11 or later, and there is none'
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "python3 must be Python 3.11 or later, it is $(python3 --version)"
  if ! make_venv; then
    case $said in
      *python3-venv* | *'No module named venv'*) command -v apt-get >/dev/null || fail "$said" ;;
      *) fail "$said" ;;
    esac
    echo "Installing Debian's package python3-venv, without which python3 makes no .venv."
    as_root apt-get -qq update
    as_root apt-get -qq install -y python3-venv
    make_venv || fail "$said"
  fi
fi
.venv/bin/python -m pip install -q --disable-pip-version-check ".[$extras]"

case ,$extras, in
  *,test,*) next='-m pytest' ;;
  *,docs,*) next='-m sphinx -W docs build/site' ;;
  *,cuda*) next='examples/01_headline.py --backend cupy --full' ;;
  *,plots,*) next='examples/01_headline.py --figure headline.png' ;;
  *) next='examples/01_headline.py' ;;
esac
[ "$called_from" = "$PWD" ] || next="$next  # in $PWD"
echo "Next: .venv/bin/python $next"
