import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.weights.origin import Origin
from weights.errors import FetchFailed
from weights.published.download import download, public_address

BODY = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)


@pytest.fixture
def origin(origin):
    origin.body = BODY
    return origin


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def get(origin, path, *, retries=0, name="file", **options):
    download(f"{origin.url}{name}", path, retries=retries, wait_s=0, **options)


def break_off(origin, path, at):
    """A first run that ends after so many bytes."""
    origin.cuts, origin.statuses = [at], [None, 503]
    with pytest.raises(FetchFailed, match=f"503 .*; {at} bytes are kept, run again"):
        get(origin, path)
    assert not path.exists()
    origin.requests.clear()


def test_a_whole_file_arrives_and_nothing_else_stays(origin, path):
    seen = []
    get(origin, path, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == BODY
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(BODY), len(BODY))
    assert origin.requests[0]["Accept-Encoding"] == "identity"  # ranges are of what is sent


def test_a_cut_connection_goes_on_in_the_same_run(origin, path):
    origin.cuts = [100_000]
    get(origin, path, retries=1)
    assert path.read_bytes() == BODY
    assert origin.sent == len(BODY)
    assert "Range" not in origin.requests[0]
    assert origin.requests[1]["Range"] == "bytes=100000-"
    assert origin.requests[1]["If-Range"] == '"one"'


def test_the_next_run_sends_for_the_rest_alone(origin, path):
    break_off(origin, path, 123_456)
    seen = []
    get(origin, path, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == BODY
    assert origin.sent == len(BODY)
    assert seen[0][0] > 123_456
    assert seen[-1] == (len(BODY), len(BODY))


@pytest.mark.parametrize("if_range", [True, False])
def test_another_version_starts_over(origin, path, if_range):
    break_off(origin, path, 100_000)
    origin.body, origin.etag, origin.if_range = OTHER, '"two"', if_range
    get(origin, path, retries=1)
    assert path.read_bytes() == OTHER


def test_a_version_that_got_shorter_than_what_is_kept_starts_over(origin, path):
    break_off(origin, path, 100_000)
    origin.body, origin.etag, origin.if_range = OTHER[:50_000], '"two"', False
    get(origin, path, retries=1)
    assert path.read_bytes() == OTHER[:50_000]


@pytest.mark.parametrize("etag", [None, 'W/"one"'])
def test_without_a_strong_etag_nothing_is_gone_on_with(origin, path, etag):
    origin.etag = etag
    break_off(origin, path, 100_000)
    origin.body = OTHER
    get(origin, path)
    assert path.read_bytes() == OTHER
    assert "Range" not in origin.requests[0]


def test_a_server_without_ranges_starts_over(origin, path):
    break_off(origin, path, 100_000)
    origin.ranges = False
    get(origin, path)
    assert path.read_bytes() == BODY


def test_a_server_that_sends_less_than_the_rest_is_asked_again(origin, path):
    break_off(origin, path, 100_000)
    origin.span = 80_000
    get(origin, path)
    assert path.read_bytes() == BODY
    assert [r["Range"] for r in origin.requests] == [f"bytes={n}0000-" for n in (10, 18, 26)]


def test_the_same_etag_of_another_address_is_not_trusted(origin, path):
    break_off(origin, path, 100_000)
    origin.body = OTHER
    get(origin, path, name="other")
    assert path.read_bytes() == OTHER


@pytest.mark.parametrize("facts", ["", "[]", "{", '{"address": 1}'])
def test_damaged_facts_start_over(origin, path, facts):
    break_off(origin, path, 100_000)
    path.with_name("file.part.json").write_text(facts)
    origin.body = OTHER
    get(origin, path)
    assert path.read_bytes() == OTHER


def test_a_part_that_is_whole_already_is_not_sent_again(origin, path):
    break_off(origin, path, 100_000)
    path.with_name("file.part").write_bytes(BODY)
    get(origin, path)
    assert path.read_bytes() == BODY
    assert origin.sent == 100_000


def test_a_passing_failure_is_tried_again(origin, path):
    origin.statuses = [503, 429]
    get(origin, path, retries=2)
    assert path.read_bytes() == BODY
    assert len(origin.requests) == 3


@pytest.mark.parametrize("status", [404, 403, 204])
def test_a_lasting_refusal_is_not_tried_again(origin, path, status):
    origin.statuses = [status]
    with pytest.raises(FetchFailed, match=rf"{status} .*--url or EGOPACK_WEIGHTS_URL"):
        get(origin, path, retries=3)
    assert len(origin.requests) == 1


def test_retries_are_spent_only_while_nothing_comes(origin, path):
    origin.cuts = [1000] * 20
    get(origin, path, retries=1)
    assert path.read_bytes() == BODY
    assert len(origin.requests) == 21


def test_a_server_that_sends_nothing_more_is_given_up(origin, path):
    origin.cuts = [1000] + [0] * 100
    with pytest.raises(FetchFailed, match="1000 bytes are kept"):
        get(origin, path, retries=3)
    assert len(origin.requests) == 1 + 4


def test_no_server_at_all_is_said_so(path):
    with pytest.raises(FetchFailed, match="refused"):
        download("http://127.0.0.1:9/file", path, retries=0)
    assert not list(path.parent.iterdir())


def test_redirects_are_followed(origin, path):
    get(origin, path, name="moved")
    assert path.read_bytes() == BODY
    assert origin.paths == ["/moved", "/file"]


def test_a_full_disk_is_said_so_and_what_came_is_kept(origin, path, full_disk):
    with full_disk(100_000), pytest.raises(FetchFailed, match=r"too large; \d+ bytes are kept"):
        get(origin, path, retries=3)
    assert len(origin.requests) == 1
    assert 0 < path.with_name("file.part").stat().st_size <= 100_000
    get(origin, path)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("url", ["", "file", "ftp://host/file", "http://", "http://a:b/file"])
def test_what_is_no_address_is_refused(path, url):
    with pytest.raises(FetchFailed, match="expected an http or https address"):
        download(url, path)


def test_secrets_in_an_address_are_neither_written_nor_told(origin, path):
    url = f"{origin.url}file?token=secret".replace("//", "//me:secret@")
    origin.cuts, origin.statuses = [100], [None, 503]
    with pytest.raises(FetchFailed) as caught:
        download(url, path, retries=0, wait_s=0)
    facts = path.with_name("file.part.json").read_text()
    assert "secret" not in str(caught.value) + facts
    assert json.loads(facts)["address"] == public_address(url) == f"{origin.url}file"
    origin.statuses = [404]
    with pytest.raises(FetchFailed) as caught:
        download(url, path, retries=0)
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def shared_origin():
    server = Origin()
    yield server
    server.close()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    body=st.binary(min_size=1, max_size=400),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    replaced_after=st.integers(0, 6),
    ranges=st.booleans(),
    if_range=st.booleans(),
    length=st.booleans(),
    span=st.none() | st.integers(1, 100),
)
def test_versions_are_never_mixed(
    tmp_path_factory, shared_origin, body, cuts, replaced_after, ranges, if_range, length, span
):
    path = tmp_path_factory.mktemp("download") / "file"
    other = bytes(byte ^ 0xFF for byte in body)
    origin = shared_origin
    origin.ranges, origin.if_range, origin.span = ranges, if_range, span
    for run, cut in enumerate([*cuts, None, None]):
        replaced = run >= replaced_after
        origin.body, origin.etag = (other, '"two"') if replaced else (body, '"one"')
        origin.cuts = [] if cut is None else [cut]
        origin.length = length or cut is not None  # without a length, no one can see a cut
        try:
            get(origin, path, retries=1 if cut is None else 0)
        except FetchFailed:
            continue
        break
    assert path.read_bytes() in (body, other)
    assert not path.with_name("file.part").exists()
