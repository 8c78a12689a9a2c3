from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

from pixxel_provider import __version__  # noqa: E402

project = "airflow-provider-pixxel"
author = "the authors of airflow-provider-pixxel"
release = version = __version__

extensions = ["sphinx.ext.autodoc", "pixxel_tables"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "code"
highlight_language = "python"
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
# A hook inherits pages of Airflow's own words otherwise.
autodoc_inherit_docstrings = False
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"airflow-provider-pixxel {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["pixxel.css"]
