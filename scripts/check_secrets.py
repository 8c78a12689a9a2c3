"""Search all files of the repository for secrets, without asking anybody; print those found.

What looks like one and isn't, such as a password of a test, is named in ``tool.secrets`` of pyproject.toml
by its value: the same value is then none anywhere, and any other one is still found.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from detect_secrets import SecretsCollection
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.settings import transient_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


def plugins() -> list[dict[str, Any]]:
    """Return all detectors but that of public addresses, which tests are full of."""
    names = {each.__name__ for each in get_mapping_from_secret_type_to_class().values()}
    return [{"name": name} for name in sorted(names - {"IPPublicDetector"})]


def find(files: list[str], allowed: frozenset[str]) -> list[str]:
    """Return where there are secrets, without these themselves; checksums that are named so are none."""
    found = SecretsCollection(root=str(ROOT))
    with transient_settings({"plugins_used": plugins()}):
        for file in files:
            found.scan_file(file)
    return [
        f"{file}:{secret.line_number}: {secret.type}"
        for file, secret in found
        if secret.secret_value not in allowed
        and f'"sha256": "{secret.secret_value}"' not in (ROOT / file).read_text(encoding="utf-8")
    ]


def main() -> int:
    """Run from the command line."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["secrets"]["none"]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    # An archive of the sources has no git.
    files = [name for name in listed.stdout.split("\0") if name] or [
        str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py")
    ]
    text = [name for name in files if not name.startswith("docs/images/")]
    problems = find(text, frozenset(named))
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"Searched {len(text)} files for secrets: {len(problems)} found.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
