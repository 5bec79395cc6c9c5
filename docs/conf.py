"""The documentation site: ``make docs`` builds it, and so does tests/test_site.py."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs/_ext')]

project = 'AdaMAE for MMAction2'
author = 'the authors of AdaMAE for MMAction2'
extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'made_pages',
    'import_table',
    'mathml',
    'page_meta',
    'short_names',
]
exclude_patterns = ['_ext', '_static']

html_theme = 'furo'
html_title = project
html_static_path = ['_static']
html_css_files = ['site.css']
html_favicon = '_static/favicon.svg'
html_domain_indices = False  # the index has the modules, too
html_show_copyright = False  # the license is in the repository
html_copy_source = html_show_sourcelink = False

# Pages are written for GitHub, too: its names of sections, its way to write formulas.
myst_heading_anchors = 4
myst_enable_extensions = ['dollarmath']
myst_dmath_double_inline = False
myst_fence_as_directive = ['mermaid']

smartquotes = False  # it would make one dash of the two of an option
highlight_language = 'text'  # of blocks without one: files, and what is printed

# Docstrings have the types, in words.
autodoc_typehints = 'none'
autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True  # as written: no addresses of objects
add_module_names = False
toc_object_entries_show_parents = 'hide'
napoleon_numpy_docstring = False
# Types such as "bool, shape (B, N)" are for people, and not names to look up.
napoleon_use_param = napoleon_use_rtype = False
napoleon_custom_sections = [('Attributes', 'params_style')]

# Every name of ours has to be found. Other packages' pages are not at hand.
nitpicky = True
nitpick_ignore_regex = [
    (r'py:.*', r'(torch|mmengine|mmaction|mmcv|mmpretrain|numpy)\..*'),
    (r'py:(class|exc)', r'(abc\.)?[A-Z]\w+(Error|Exception|Interrupt)|ABC|\w*Tuple'),
]

# `make links`: GitHub makes the names of sections in the browser.
linkcheck_anchors = False
