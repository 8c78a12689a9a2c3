#!/bin/sh
# Runs nox with its arguments, out of an environment that is made once: with the Python named by $PYTHON, or, when that
# is missing or too old, with the newest supported one that is found. Needs pip's ensurepip, or else uv or a pip.
set -eu
cd "$(dirname "$0")/.."

suits() {
    "$1" -c 'import sys, ctypes, sqlite3, ssl, venv; sys.exit(not ((3, 10) <= sys.version_info < (3, 15)))' \
        >/dev/null 2>&1
}

# An uv of the machine's, or one that an old Python installs beside: it can do without ensurepip, and can fetch a Python.
make_with_uv() {
    uv=$(command -v uv) || uv=.nox/uv/bin/uv
    [ -x "$uv" ] || "${PYTHON:-python3}" -m pip install --quiet --target .nox/uv uv >&2 || return 1
    "$uv" venv --quiet --seed --clear --python "${python:->=3.10,<3.15}" "$1"
}

python=
for candidate in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11 python3.10 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[0-4]*/bin/python; do
    if suits "$candidate"; then
        python=$candidate
        [ "$candidate" = "${PYTHON:-python3}" ] ||
            echo "note: ${PYTHON:-python3} is no Python 3.10 to 3.14 with venv, ssl and sqlite3; using $candidate" >&2
        break
    fi
done

version=$([ -z "$python" ] || "$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
tools=.nox/tools-${version:-uv}-$(cksum <constraints/nox.txt | cut -d' ' -f1)
if [ ! -x "$tools/bin/python" ]; then
    mkdir -p .nox
    new=$(mktemp -d .nox/new.XXXXXX)
    trap 'rm -rf "$new"' EXIT
    said=$([ -n "$python" ] && "$python" -m venv "$new" 2>&1) || make_with_uv "$new" || {
        echo "$said
error: no environment can be made. It takes a Python from 3.10 to 3.14 with the modules venv, ensurepip, ssl and sqlite3, or uv.
On Debian and Ubuntu the package python3-venv is often what is missing. Name another Python: make PYTHON=python3.12 ..." >&2
        exit 1
    }
    install="$new/bin/python -m pip -qq --disable-pip-version-check install --constraint constraints/nox.txt"
    $install nox uv || $install nox # without uv, pip installs the rest, too
    # Made beside and moved: an environment that is there is whole, whoever else makes one at the same time.
    [ -x "$tools/bin/python" ] || { rm -rf "$tools" && mv "$new" "$tools"; }
    rm -rf "$new"
fi
exec "$tools/bin/python" -m nox "$@"
