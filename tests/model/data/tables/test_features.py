"""Features of a table's videos, and rows that end a little after theirs."""

import pytest

from extract.features.ids import as_id
from extract.features.store import FeatureStore
from model.data.tables.features import (
    features_folder,
    last_ends,
    own_tracks,
    slack_of,
    stored_encoder,
    within_videos,
)
from model.errors import AnnotationInvalid, FeaturesMissing
from model.predict.predictor import Predictor
from tests.model.support.tables import VIDEOS, table_of, write_tracks
from tests.support.factories import make_bundle, make_track

LATE = table_of(("a", 1, 2.5, "x"), ("a", 3, 4.0, "x"), ("b", 0, 9, "x"))


def test_rows_are_cut_to_the_video_within_the_slack_and_refused_beyond_it():
    track = make_track(105, video_id="a")  # 3.5 s
    cut = within_videos(LATE, [track], slack_s=0.6)
    assert cut.end_s.tolist() == [2.5, 3.5, 9.0]
    with pytest.raises(AnnotationInvalid, match=r"ends at 4 s; a ends at 3\.500 s"):
        within_videos(LATE, [track])
    with pytest.raises(AnnotationInvalid, match="ends at 4 s"):
        within_videos(LATE, [make_track(90, video_id="a")], slack_s=2.0)  # begins at the end
    assert last_ends(LATE) == {"a": 4.0, "b": 9.0}


def test_only_rows_of_ones_own_end_where_the_video_does():
    encoder = Predictor(make_bundle()).encoder
    assert slack_of("table:x.csv", encoder) == 0
    assert slack_of("epic-kitchens:/data", encoder) == pytest.approx(32 / 30)


def test_stored_features_say_what_made_them(tmp_path):
    encoder = Predictor(make_bundle()).encoder
    store = FeatureStore(write_tracks(tmp_path, encoder=encoder))
    found = stored_encoder(store, VIDEOS)
    assert (found.name, found.dim, found.fingerprint) == ("tiny", encoder.dim, encoder.fingerprint)
    tracks = own_tracks(found, dict.fromkeys(VIDEOS, 1.0), store, None, lambda *_: {})
    assert [track.video_id for track in tracks] == list(VIDEOS)
    with pytest.raises(FeaturesMissing) as missing:
        stored_encoder(store, [*VIDEOS, "fifth", "six th"])
    assert missing.value.videos == ("fifth", as_id("six th"))
    with pytest.raises(AnnotationInvalid, match="1 of 5 videos have no features .* --videos"):
        own_tracks(encoder, dict.fromkeys([*VIDEOS, "fifth"], 1.0), store, None, lambda *_: {})
    assert features_folder(tmp_path, encoder).name.startswith("tiny-")
