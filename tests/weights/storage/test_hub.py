"""Repositories of a hub as folders, asked by the hub's own library."""

import json
import logging
import sys

import pytest

from tests.weights.hub import FIRST, TOKEN
from weights.errors import BundleMissing, RemoteFailed, RemoteMissing
from weights.storage.folders import PlaceInvalid, RemoteFolder, as_place, open_folder
from weights.storage.hub import HubFolder, front_matter

URL = "hf://owner/name"


@pytest.fixture
def commits(hub):
    """Hashes of two commits, each with a file `one`; the second is main's, the first has a tag."""
    HubFolder(URL).write("one", b"first")
    repository = hub.repositories["owner/name"]
    repository.refs["v1"] = repository.refs["main"]
    HubFolder(URL).write("one", b"second!")
    hub.clear()
    return repository.refs["v1"], repository.refs["main"]


@pytest.mark.parametrize(
    "url",
    ["hf://name", "hf://owner/name/folder", "hf://owner/name@", "hf://owner/name@a b", "hf://@v1"]
    + ["hf://owner/name@../x/", "hf://"],
)
def test_an_address_is_a_repository_and_perhaps_a_revision(url):
    with pytest.raises(PlaceInvalid, match="expected hf://OWNER/NAME or hf://OWNER/NAME@REVISION"):
        as_place(url)


def test_other_things_on_hubs_are_left_to_fsspec():
    assert isinstance(open_folder("hf://datasets/owner/name/features"), RemoteFolder)
    folder = open_folder("hf://owner/name@refs/pr/1/")
    assert (folder.repository, folder.revision, folder.name) == ("owner/name", "refs/pr/1", "name")


def test_files_are_of_one_commit_whatever_is_written_meanwhile(hub, commits, tmp_path, caplog):
    folder = open_folder(URL)
    with caplog.at_level(logging.INFO):
        assert sorted(folder.files()) == [*FIRST, "one"]
    assert f"{URL} is at commit {commits[1]}" in caplog.text
    HubFolder(URL).write("one", b"third")
    assert folder.read("one") == b"second!"
    place = tmp_path / "place"
    (place / "fetched.download").mkdir(parents=True)  # a killed one's
    folder.fetch("one", place / "fetched")
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {"fetched": b"second!"}
    assert folder.facts("one").size == 7
    assert open_folder(URL).read("one") == b"third"
    assert open_folder(URL).facts("one").version != folder.facts("one").version


def test_a_tag_and_a_commit_stay_what_they_are(commits):
    for revision in ("v1", commits[0]):
        assert open_folder(f"{URL}@{revision}").read("one") == b"first"


def test_what_is_not_there_is_not_asked_for(hub, commits):
    folder = open_folder(URL)
    assert folder.facts("two") is None
    hub.clear()
    with pytest.raises(RemoteMissing, match="hf://owner/name/two: there is no such file"):
        folder.read("two")
    assert hub.asked == []


def test_a_branch_is_made_and_a_commit_is_not_written_to(hub, commits):
    folder = HubFolder(f"{URL}@next")
    folder.write("one", b"third")
    assert HubFolder(URL).read("one") == b"second!"
    assert HubFolder(f"{URL}@next").read("one") == b"third"
    with pytest.raises(RemoteFailed, match="a commit cannot be written to; name a branch"):
        HubFolder(f"{URL}@{commits[0]}").write("one", b"third")


def test_a_public_repository_is_not_taken_for_a_private_one(hub, commits):
    with pytest.raises(RemoteFailed, match="nothing was written: it should be private"):
        HubFolder(URL).create(private=True)
    HubFolder("hf://owner/other").create(private=True)
    HubFolder("hf://owner/other").create(private=True)
    assert hub.repositories["owner/other"].private


@pytest.mark.parametrize(
    ("url", "token", "kind", "words"),
    [
        ("hf://owner/gone", TOKEN, BundleMissing, "has no such model repository, or does not show"),
        ("hf://owner/gone", "", BundleMissing, "set HF_TOKEN if it is private"),
        (f"{URL}@v9", TOKEN, BundleMissing, "no such revision: expected a branch, a tag or a co"),
    ],
)
def test_what_a_hub_does_not_have_is_missing(hub, commits, url, token, kind, words, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(kind, match=words) as caught:
        open_folder(url).read("one")
    assert str(caught.value).startswith(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_what_to_do(hub, commits, status):
    hub.refuse, hub.status = "POST .*/commit/", status
    with pytest.raises(RemoteFailed, match=rf"refuses it \({status}\): set HF_TOKEN to a token"):
        HubFolder(URL).write("one", b"third")
    assert open_folder(URL).read("one") == b"second!"


def test_no_message_shows_the_token_or_a_signed_address(hub, commits):
    hub.refuse, hub.status = "GET", 418
    with pytest.raises(RemoteFailed, match=r"hf://owner/name: HfHubHTTPError: .*no to …") as caught:
        open_folder(URL).read("one")
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_offline_and_unreachable_hubs_are_said_to_be(hub, commits, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RemoteFailed, match="HF_HUB_OFFLINE is set, so only what was read before"):
        open_folder(URL).read("one")
    assert hub.asked == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RemoteFailed, match="hf://owner/name: ConnectError: "):
        open_folder(URL).read("one")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RemoteFailed, match=r'pip install "egopack-server\[hub\]"'):
        open_folder(URL).read("one")


def test_the_head_of_a_card_is_yaml_between_lines():
    head = front_matter({"license": "mit", "tags": ["a", "b"], "base_model": None})
    assert head == "---\nlicense: mit\ntags:\n- a\n- b\n---\n"
    with pytest.raises(RemoteFailed, match="the model card: "):
        front_matter({"model-index": [{"name": "m", "results": json.loads("[{}]")}]})
