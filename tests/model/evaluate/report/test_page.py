import re
from html.parser import HTMLParser

import pytest

from tests.model.evaluate.report.synthetic_report import HOSTILE


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.slow
def test_the_page_is_sound_and_asks_nobody_for_anything(written):
    folder, page, *_ = written
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in tags.seen
    assert not re.search(r"url\(|@import|https?:", page)
    for link in tags.links:
        inside = link.startswith(("#", "data:image/png;base64,"))
        assert inside or (folder / link).is_file(), link


def test_labels_of_a_taxonomy_are_only_ever_text(written):
    _, page, *_ = written
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
