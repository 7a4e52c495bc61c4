"""Run by the interpreter that has FiftyOne: reads a sample as the how-to does, and shows it.

Knows nothing of ours; writes down what FiftyOne made of the sample, then keeps its app open.
"""

import json
import sys
import time
from pathlib import Path

import fiftyone as fo


def main(sample: str, seen: str, port: str) -> None:
    """Reads `sample`, writes `seen`, shows the data set on `port` until it is stopped."""
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample.from_dict(json.loads(Path(sample).read_text())))
    dataset.compute_metadata(progress=False)
    read = dataset.first()
    fields = [name for name in ("ar", "oscc", "pnr") if read.has_field(name)]
    facts = {
        "frames": read.metadata.total_frame_count,
        "fps": read.metadata.frame_rate,
        "fields": {name: [_about(one, read) for one in read[name].detections] for name in fields},
        "clips": {name: [list(one.support) for one in dataset.to_clips(name)] for name in fields},
    }
    Path(seen).write_text(json.dumps(facts))
    fo.launch_app(dataset, port=int(port), address="127.0.0.1", remote=True)
    time.sleep(3600)


def _about(detection: fo.TemporalDetection, sample: fo.Sample) -> dict[str, object]:
    return {
        "label": detection.label,
        "confidence": detection.confidence,
        "support": list(detection.support),
        "seconds": detection.to_timestamps(sample=sample),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
