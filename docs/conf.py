"""How the documentation is built. Warnings are errors: sphinx-build -W."""

import sys
from pathlib import Path

import msm

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "MSM: Modbus Shared Memory"
author = "the MSM contributors"
copyright = author
version = release = msm.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "msm_tables"]  # msm_tables: in _ext
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_ext", "_pictures"]
html_static_path = ["_static"]
html_css_files = ["msm.css"]
html_theme = "furo"
html_title = "MSM"

# In docstrings `this` is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

# A link into MSM that leads nowhere is an error. What belongs to Python itself is not linked: building must not
# need a network. Nor is what is private to a room and shows only in a signature.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!msm\.).*"),
    (r"py:.*", r"msm\.(memory|wire|exchange\.(device|plan)|testing\.(faults|clock)|web\.(feed|settings))\..*"),
]
