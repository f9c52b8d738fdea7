"""The site, which ``make docs`` builds into build/site."""

import json
import re
from pathlib import Path

from sphinx.application import Sphinx

import ssm_metarl

DOCS = Path(__file__).parent
ROOT = DOCS.parent
REPOSITORY = "https://github.com/sunghunkwag/SSM-MetaRL-Unified"
LINK = re.compile(r"(?P<image>!?)(?P<text>\[[^][]*\])\((?P<target>(?!https?:|#)[^)\s]+)\)")
ELSEWHERE = re.compile(r"\[.*\]\((\.\./examples/\S+)\)\s*")
"""A page of one link is the text, or the notebook, that it links to."""
PAGES = {
    (DOCS / link[1]).resolve(): page.name
    for page in DOCS.glob("*.md")
    if (link := ELSEWHERE.fullmatch(page.read_text(encoding="utf-8")))
}

project = "ssm-metarl"
html_show_copyright = False
version = release = ssm_metarl.__version__
html_title = f"ssm-metarl {release}"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
}
html_copy_source = False
myst_heading_anchors = 3
# Other packages' and inner names have no page here; what is on the site has to be right.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"((collections|gymnasium|jaxtyping|numpy|pathlib|torch|ssm_metarl\.\w+)\..*|ndarray|'.*)",
    )
]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_use_ivar = True
napoleon_use_rtype = False


def notebook(text: str) -> str:
    """Return a notebook as a page: its texts, its code, and the images that it keeps."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            if image := output.get("data", {}).get("image/png"):
                parts.append(f"![what the cell shows](data:image/png;base64,{''.join(image)})")
    return "\n\n".join(parts)


def relink(text: str, folder: Path) -> str:
    """Return a text of a folder with links that lead somewhere from a page of the site."""

    def link(match: re.Match[str]) -> str:
        image, text, target = match["image"], match["text"], match["target"]
        if target.startswith("data:"):
            return match[0]
        path, mark, anchor = target.partition("#")
        place = (folder / path).resolve()
        place = DOCS / PAGES.get(place, place)
        if place.parent == DOCS:
            return f"{image}{text}({place.name}{mark}{anchor})"
        if image:
            up = "" if place.is_relative_to(DOCS) else "../"
            return f"{image}{text}({up}{place.relative_to(ROOT if up else DOCS)})"
        kind = "tree" if place.is_dir() else "blob"
        return f"{text}({REPOSITORY}/{kind}/main/{place.relative_to(ROOT)}{mark}{anchor})"

    return LINK.sub(link, text)


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Hand a page to Sphinx."""
    folder = DOCS
    if elsewhere := ELSEWHERE.fullmatch(source[0]):
        path = (DOCS / elsewhere[1]).resolve()
        folder, text = path.parent, path.read_text(encoding="utf-8")
        source[0] = notebook(text) if path.suffix == ".ipynb" else text
    source[0] = relink(source[0], folder)


def setup(app: Sphinx) -> None:
    """Add to Sphinx what is above."""
    app.connect("source-read", read)
