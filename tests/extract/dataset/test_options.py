import pytest

from tests.extract.support.commands import run


@pytest.mark.parametrize(
    "wrong",
    [
        ("--shard", "0/2"),
        ("--shard", "3/2"),
        ("--shard", "two"),
        ("--workers", "0"),
        ("--batch-windows", "-1"),
        ("--half",),
        ("--reader", "ffmpeg"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_done(bundle, videos, tmp_path, wrong):
    with pytest.raises(SystemExit) as caught:
        run(videos, "--out", tmp_path / "f", "--encoder", bundle, *wrong)
    assert caught.value.code == 2
    assert not (tmp_path / "f").exists()
