import fcntl
import hashlib
import io
import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from extract.encoders.omnivore import load_omnivore
from extract.encoders.swin.trunk import OMNIVORE_SWINL
from tests.extract.encoders.test_omnivore import published_layout
from weights.errors import CheckpointInvalid, FetchFailed, HashDiffers
from weights.published.catalogue import PUBLISHED
from weights.published.fetch import RECORD_FILE, fetch

OMNIVORE = PUBLISHED["omnivore-swinl"]
SMALL = replace(OMNIVORE_SWINL, width=6, heads=(1, 2, 3, 6), depths=(2, 2, 2, 2), window=(2, 3, 3))
TENSORS = "omnivore-swinl.safetensors"


def saved(checkpoint) -> bytes:
    stream = io.BytesIO()
    torch.save(checkpoint, stream)
    return stream.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def checkpoint():
    """The published layout, narrower."""
    heads = {"image": 1000, "rgbd": 19, "video.1": 400}
    return {
        "trunk": published_layout(SMALL),
        "heads": {f"{name}.weight": torch.zeros(n, 48) for name, n in heads.items()}
        | {f"{name}.bias": torch.zeros(n) for name, n in heads.items()},
    }


@pytest.fixture
def origin(origin, checkpoint):
    origin.body = saved(checkpoint)
    return origin


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "omnivore"


def get(origin, folder, backbone=OMNIVORE):
    return fetch(backbone, folder, url=f"{origin.url}{backbone.file}")


def files(folder):
    return {path.name for path in folder.iterdir()}


# ---- what is kept -------------------------------------------------------------------------------


def test_the_trunk_is_kept_under_its_names_and_loads_strictly(origin, folder, checkpoint):
    record = get(origin, folder)
    assert files(folder) == {TENSORS, RECORD_FILE}
    kept = load_file(folder / record["tensors"]["file"])
    assert kept.keys() == checkpoint["trunk"].keys()
    for name, tensor in checkpoint["trunk"].items():
        assert torch.equal(kept[name], tensor), name
        assert kept[name].dtype == tensor.dtype

    direct = load_omnivore(checkpoint["trunk"], config=SMALL)
    assert load_omnivore(kept, config=SMALL).fingerprint == direct.fingerprint


def test_the_record_says_what_came_from_where(origin, folder):
    record = get(origin, folder)
    assert json.loads((folder / RECORD_FILE).read_text()) == record
    assert record["address"] == f"{origin.url}swinL_In21k_checkpoint.torch"
    assert record["licence"] == "CC BY-NC 4.0"
    assert record["checkpoint"]["sha256"] == sha256(origin.body)
    assert record["tensors"]["sha256"] == sha256((folder / TENSORS).read_bytes())


def test_the_other_backbones_layout_is_known_too(origin, folder):
    slowfast = PUBLISHED["slowfast-r101"]
    state = {"blocks.0.conv.weight": torch.rand(2, 3), "blocks.0.norm.num_batches": torch.tensor(7)}
    origin.body = saved({"model_state": state, "cfg": "a: 1", "epoch": 3})
    get(origin, folder, slowfast)
    kept = load_file(folder / "slowfast-r101.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in state.items())


def test_tensors_that_share_or_skip_memory_are_kept(origin, folder):
    base = torch.rand(4, 6)
    state = {"all": base, "part": base[1:3], "turned": base.T, "again": base}
    origin.body = saved({"trunk": state})
    get(origin, folder)
    kept = load_file(folder / TENSORS)
    assert all(torch.equal(kept[name], tensor) for name, tensor in state.items())


# ---- coming back --------------------------------------------------------------------------------


def test_what_is_whole_is_not_fetched_again(origin, folder):
    record = get(origin, folder)
    assert get(origin, folder) == record
    assert len(origin.requests) == 1


@pytest.mark.parametrize("spoil", [os.remove, lambda path: path.write_bytes(b"\0" * 100)])
def test_what_is_not_whole_is_fetched_again(origin, folder, spoil):
    record = get(origin, folder)
    spoil(folder / TENSORS)
    assert get(origin, folder) == record
    assert sha256((folder / TENSORS).read_bytes()) == record["tensors"]["sha256"]


def test_the_file_that_came_first_is_the_only_one_taken_later(origin, folder):
    first = origin.body
    get(origin, folder)
    (folder / TENSORS).unlink()
    origin.body = saved({"trunk": {"norm.weight": torch.ones(3)}})
    with pytest.raises(HashDiffers, match=r"came the first time, by .*fetched\.json") as caught:
        get(origin, folder)
    assert (caught.value.expected, caught.value.found) == (sha256(first), sha256(origin.body))
    assert files(folder) == {RECORD_FILE}
    origin.body = first
    get(origin, folder)
    assert TENSORS in files(folder)


def test_a_published_hash_is_demanded_of_the_first_file(origin, folder):
    wrong = replace(OMNIVORE, sha256="0" * 64)
    with pytest.raises(HashDiffers, match="is what its publisher states"):
        get(origin, folder, wrong)
    assert files(folder) == set()
    get(origin, folder, replace(OMNIVORE, sha256=sha256(origin.body)))
    assert TENSORS in files(folder)


def test_a_published_hash_overrules_what_was_kept(origin, folder):
    get(origin, folder)
    with pytest.raises(HashDiffers):
        get(origin, folder, replace(OMNIVORE, sha256="0" * 64))


def test_a_run_killed_while_converting_does_not_download_again(origin, folder, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("weights.published.fetch.save_file", killed)
        with pytest.raises(KeyboardInterrupt):
            get(origin, folder)
    get(origin, folder)
    assert len(origin.requests) == 1
    assert files(folder) == {TENSORS, RECORD_FILE}


def test_a_checkpoint_that_is_there_is_taken_without_a_network(origin, folder):
    folder.mkdir()
    (folder / OMNIVORE.file).write_bytes(origin.body)
    record = fetch(OMNIVORE, folder, url="http://127.0.0.1:9/")
    assert record["checkpoint"]["sha256"] == sha256(origin.body)
    assert record["address"] is None


def test_a_full_disk_costs_no_second_download(origin, folder, full_disk):
    folder.mkdir()
    (folder / OMNIVORE.file).write_bytes(origin.body)
    with full_disk(len(origin.body) // 2), pytest.raises(FetchFailed, match="too large"):
        get(origin, folder)
    assert files(folder) == {OMNIVORE.file}
    get(origin, folder)
    assert origin.requests == []


def test_tensors_that_were_half_written_do_not_stay(origin, folder, monkeypatch):
    def broken(_, path, **__):
        path.write_bytes(b"half")
        raise SafetensorError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("weights.published.fetch.save_file", broken)
        with pytest.raises(FetchFailed, match="no space left"):
            get(origin, folder)
    assert files(folder) == {OMNIVORE.file}
    get(origin, folder)
    assert len(origin.requests) == 1


# ---- what is refused ----------------------------------------------------------------------------


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("found", "said"),
    [
        (b"", "is damaged"),
        (b"\x80\x02rubbish", "is damaged"),
        (b"\n <!DOCTYPE html><html>Sign in</html>", "found a web page"),
        ([torch.zeros(2)], "expected a dict, found a list"),
        ({"model_state": {}, "heads": {}}, "no entry 'trunk', only heads, model_state"),
        ({"trunk": torch.zeros(2)}, "expected a state dict, found a Tensor"),
        ({"trunk": {}}, "holds no tensors"),
        ({"trunk": {"norm.weight": 3.0}}, "'norm.weight' is not a named dense tensor"),
        ({"trunk": {"norm": {"weight": torch.zeros(2)}}}, "'norm' is not a named dense tensor"),
        ({"trunk": {7: torch.zeros(2)}}, "7 is not a named dense tensor"),
        ({"trunk": {"a": torch.eye(2).to_sparse()}}, "'a' is not a named dense tensor"),
        ({"trunk": {"a": torch.zeros(2, device="meta")}}, "'a' is not a named dense tensor"),
        ({"trunk": {"a": torch.zeros(2) * 1j}}, "'a' is not a named dense tensor"),
    ],
)
def test_what_is_no_checkpoint_of_it_is_refused_and_removed(origin, folder, found, said):
    good = origin.body
    origin.body = found if isinstance(found, bytes) else saved(found)
    with pytest.raises(CheckpointInvalid, match=said):
        get(origin, folder)
    assert files(folder) == set()
    origin.body = good  # nor was it recorded as what came first
    get(origin, folder)


def test_half_a_checkpoint_of_unknown_length_is_refused(origin, folder):
    origin.length, origin.cuts = False, [len(origin.body) // 2]
    with pytest.raises(CheckpointInvalid, match="is damaged"):
        get(origin, folder)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(origin, folder, tmp_path, checkpoint):
    ran = tmp_path / "ran"
    for data in (Evil(str(ran)), checkpoint | {"heads": Evil(str(ran))}):
        origin.body = saved(data)
        with pytest.raises(CheckpointInvalid, match="could run code"):
            get(origin, folder)
        assert files(folder) == set()
    assert not ran.exists()


def test_two_runs_do_not_share_a_folder(origin, folder):
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(FetchFailed, match="another run"):
        get(origin, folder)
    os.close(handle)
    get(origin, folder)


def test_two_backbones_do_not_share_a_folder(origin, folder):
    get(origin, folder)
    with pytest.raises(FetchFailed, match="holds omnivore-swinl; give slowfast-r101 a folder"):
        get(origin, folder, PUBLISHED["slowfast-r101"])
    assert files(folder) == {TENSORS, RECORD_FILE}


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"checkpoint": {"sha256": 1}, "tensors": 2}'])
def test_a_damaged_record_is_not_passed_over(origin, folder, record):
    folder.mkdir()
    (folder / RECORD_FILE).write_text(record)
    with pytest.raises(FetchFailed, match=r"fetched\.json is damaged"):
        get(origin, folder)
    assert origin.requests == []


def test_a_place_that_is_no_folder_is_said_so(origin, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FetchFailed, match="File exists"):
        get(origin, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
