import torch

from extract.contract import OMNIVORE
from extract.features.track import EncoderId, FeatureTrack, window_times


def make_track(num_frames=100, video_id="kitchen-1", **changes):
    start_s, end_s = window_times(num_frames, OMNIVORE, 30)
    return FeatureTrack(
        **{
            "features": torch.randn(len(start_s), 5),
            "start_s": start_s,
            "end_s": end_s,
            "fps": 30.0,
            "video_id": video_id,
            "encoder": EncoderId("tiny", "abc"),
            "num_frames": num_frames,
            "is_padded": num_frames < 32,
            **changes,
        }
    )
