import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.contract import FeatureContract
from extract.errors import FeatureFileInvalid
from extract.features.track import EncoderId
from extract.features.track_check import Annotated, FeatureCheck, Kind, Needed
from extract.windows import count_windows


@given(
    frames=st.lists(st.integers(1000, 50_000), min_size=1, max_size=20),
    shares=st.lists(st.floats(0.1, 1), min_size=20, max_size=20),
    stride=st.integers(2, 9),
)
def test_a_smaller_stride_shows_in_videos_annotated_to_their_end(frames, shares, stride):
    """As long as one video of a set is, nothing else can be long after its last annotation."""
    for cut_every, refused in ((16, False), (stride, True)):
        check = FeatureCheck(
            annotated={
                str(i): Annotated(0, n if i == 0 else max(1, int(n * share)), "")
                for i, (n, share) in enumerate(zip(frames, shares, strict=False))
            }
        )
        for i, n in enumerate(frames):
            rows = count_windows(n, FeatureContract(stride_frames=cut_every))
            check.count(str(i), f"{i}.pt", rows, None)
        if refused:
            with pytest.raises(FeatureFileInvalid, match="smaller stride"):
                check.finish()
        else:
            check.finish()


@pytest.mark.parametrize(
    ("name", "made_by", "is_useful"),
    [
        ("omnivore_video_swinl", EncoderId("folder", ""), True),
        ("omnivore_video_swinl", EncoderId("omnivore-swinl", "ab"), True),
        ("omnivore_video_swinl", EncoderId("slowfast-r101", "ab"), False),
        ("a-folder-of-mine", EncoderId("tiny", "ab"), True),
    ],
)
def test_a_bundle_for_released_features_takes_those_of_the_sets_encoder(name, made_by, is_useful):
    needed = Needed(6, EncoderId(name, ""))
    fault = needed.fault_of(Kind(made_by, 6, "float32"))
    assert (fault is None) == is_useful
