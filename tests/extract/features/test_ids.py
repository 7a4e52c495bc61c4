import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extract.features.ids import MAX_LENGTH, as_id, id_of, is_safe_id
from weights.storage.folders import LocalFolder

PLAIN = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", fullmatch=True)
ANY = st.text(st.characters(), max_size=300)  # surrogates, as of names that are no UTF-8, included


@given(PLAIN)
def test_a_name_that_can_be_an_id_is_its_own(name):
    assert id_of(name) == as_id(name) == name
    assert is_safe_id(name)


@given(ANY)
@example("")
@example("..")
@example("a/b")
@example("a\0b")
@example("\udcff")
def test_any_name_has_an_id_that_can_name_a_file_anywhere(name):
    id = id_of(name)
    assert is_safe_id(id)
    assert id.isascii()
    assert id[0] not in ".-="
    assert not set(id) & set("/\\ \n\0*?[]~%#:")
    assert as_id(id) == id
    assert as_id(name) == (name if is_safe_id(name) else id)


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Küche 1") for form in ("NFC", "NFD"))


@given(st.lists(ANY | PLAIN, unique=True))
@example([COMPOSED, DECOMPOSED, "Kuche 1", "Kuche-1", "kuche 1", "KUCHE 1"])
@example(["Küche 1", id_of("Küche 1"), id_of(id_of("Küche 1"))])
@example(["A", "a", "a ", " a", "-a", ".a", "a.", "a/", "./a"])
@example(["x" * 250, "x" * 251, "ä" * 120, "ä" * 121])
@example(["K\udcfcche", "K\udcf6che", "Küche", "K\ufffdche"])
def test_two_names_never_have_one_id(names):
    assert len({id_of(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("Küche 1", "Kuche-1=2da14dd0db68a8eb718d"),
        ("./P01/video.mp4", "P01-video.mp4=348c0ff4acd81cbf3b46"),
        ("P01/video [2].mp4", "P01-video-2-.mp4=2fb98c152ad82f48acee"),
        ("厨房", "video=4ae988a29c1f702c36ec"),
        ("K\udcfcche", "K-che=49440456975d9b8d51b3"),
    ],
)
def test_an_id_is_readable_and_stays_what_it_is_from_release_to_release(name, id):
    assert id_of(name) == id


@pytest.mark.parametrize("name", ["x" * MAX_LENGTH, "ä" * 127, "y" * 255])
def test_the_longest_names_can_be_written(tmp_path, name):
    LocalFolder(tmp_path).write(f"{id_of(name)}.safetensors", b"rows")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"rows"]


@pytest.mark.parametrize("text", ["", "a b", "a=b", f"a={'0' * 19}", f"={'0' * 20}", "a\n", "é"])
def test_what_is_no_id_is_none(text):
    assert not is_safe_id(text)
