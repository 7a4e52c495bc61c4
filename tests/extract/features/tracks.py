import torch

from extract.features.track import EncoderId, FeatureTrack
from extract.windows import cut_windows, window_times


def make_track(num_frames=100, video_id="kitchen-1", **changes):
    starts = cut_windows(num_frames)
    start_s, end_s = window_times(starts, fps=30, window_frames=32, num_frames=num_frames)
    return FeatureTrack(
        **{
            "features": torch.randn(len(starts), 5),
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
