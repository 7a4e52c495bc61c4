import json

import pytest
import torch

from extract.dataset.compare import compare_tracks, main


def put(folder, **tracks):
    folder.mkdir(exist_ok=True)
    for video, features in tracks.items():
        torch.save(features, folder / f"{video}.pt")
    return folder


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, [json.loads(line) for line in said.out.splitlines()], said.err


def test_equal_folders_are_equal_whatever_their_layout(tmp_path, capsys):
    features = torch.randn(5, 8)
    a = put(tmp_path / "a", one=features, alone=features)
    b = put(tmp_path / "b", one=features[:, None])
    status, (one, all_), _ = run(capsys, a, b, "--max-abs", 0)
    assert status == 0
    assert (one["video"], one["rows"], one["max_abs"]) == ("one", 5, 0.0)
    assert one["cosine_min"] == pytest.approx(1)
    assert (all_["videos"], all_["rows"], all_["other_lengths"]) == (1, 5, [])


def test_the_worst_row_and_the_greatest_difference_are_found(tmp_path, capsys):
    features = torch.eye(4, 8)
    moved = features.clone()
    moved[2] = torch.tensor([0, 0, 3.0, 4.0, 0, 0, 0, 0])  # 0.6 of its direction is left
    found = compare_tracks("v", features, moved)
    assert (found.worst_row, found.cosine_min) == (2, pytest.approx(0.6))
    assert found.cosine_mean == pytest.approx(0.9)
    assert found.max_abs == pytest.approx(4.0)

    a, b = put(tmp_path / "a", v=features, w=features), put(tmp_path / "b", v=moved, w=features)
    status, lines, _ = run(capsys, a, b)
    assert status == 3
    assert lines[-1]["cosine_min_at"] == ["v", 2]
    assert run(capsys, a, b, "--min-cosine", 0.5)[0] == 0
    assert run(capsys, a, b, "--min-cosine", 0.5, "--max-abs", 3.9)[0] == 3


def test_half_precision_is_within_the_tolerance(tmp_path, capsys):
    features = torch.randn(6, 64)
    a, b = put(tmp_path / "a", v=features), put(tmp_path / "b", v=features.half())
    assert run(capsys, a, b)[0] == 0
    assert run(capsys, a, b, "--max-abs", 1e-6)[0] == 3


def test_another_number_of_windows_is_no_match(tmp_path, capsys):
    features = torch.randn(6, 8)
    a, b = put(tmp_path / "a", v=features), put(tmp_path / "b", v=features[:5])
    status, lines, _ = run(capsys, a, b)
    assert status == 3
    assert (lines[0]["rows"], lines[-1]["other_lengths"]) == (5, ["v"])


def test_what_cannot_be_compared_is_said(tmp_path, capsys):
    a = put(tmp_path / "a", v=torch.randn(3, 8), w=torch.randn(3, 8))
    b = put(tmp_path / "b", v=torch.randn(3, 9), w=torch.ones(3, 8))
    (b / "w.pt").write_bytes(b"nothing")
    status, lines, said = run(capsys, a, b)
    assert (status, lines) == (1, [])
    assert "8 and of 9" in said
    assert "w.pt" in said
    assert run(capsys, a, tmp_path / "empty")[0] == 1


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_rows_that_are_not_numbers_never_pass(tmp_path, capsys, number):
    features = torch.randn(3, 8)
    broken = features.clone()
    broken[1, 1] = number
    a = put(tmp_path / "a", u=features, v=features)
    b = put(tmp_path / "b", u=features, v=broken)
    status, _, said = run(capsys, a, b)
    assert status == 3
    assert "v: holds values that are not finite" in said
