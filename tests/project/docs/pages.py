"""The pages that are held to the truth, and the blocks in them."""

from pathlib import Path

from docsite import notebooks
from tests.project.docs.blocks import Block, blocks_in, blocks_of

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("weights/*/*.md"))
    if path.name != "CHANGELOG.md"
)
BLOCKS: list[Block] = [block for page in PAGES for block in blocks_of(page)]
IN_NOTEBOOKS: list[Block] = [
    block for place, text in notebooks.pages() for block in blocks_in(text, ROOT / "docs" / place)
]
"""Their cells; the notebooks are run as they are."""
RUN = ("bash", "console", "python")
"""Languages of blocks that a reader runs."""
READ = ("csv", "ini", "json", "nginx", "text", "toml", "yaml")
"""Languages of blocks that a reader reads."""


def name_of(page: Path) -> str:
    """Returns a page's path from the root."""
    return str(page.relative_to(ROOT))
