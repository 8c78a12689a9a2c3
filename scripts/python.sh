#!/bin/sh
# Runs its arguments with the Python named by $PYTHON, or, when that one is missing or too old,
# with the newest supported one that is found.
set -eu

suits() {
    "$1" -c 'import sys, ctypes, sqlite3, ssl, venv; sys.exit(not ((3, 10) <= sys.version_info < (3, 14)))' \
        >/dev/null 2>&1
}

for candidate in "${PYTHON:-python3}" python3 python3.13 python3.12 python3.11 python3.10 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[0-3]*/bin/python; do
    if suits "$candidate"; then
        if [ "$candidate" != "${PYTHON:-python3}" ]; then
            echo "note: ${PYTHON:-python3} is no Python 3.10 to 3.13 with venv, ssl and sqlite3; using $candidate" >&2
        fi
        exec "$candidate" "$@"
    fi
done

echo "error: no Python 3.10, 3.11, 3.12 or 3.13 was found (with the modules venv, ssl and sqlite3)." >&2
echo "Name one: make PYTHON=/path/to/python3.12 ..." >&2
exit 1
