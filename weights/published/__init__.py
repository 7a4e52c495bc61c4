"""Published backbones: catalogue, resumable download, conversion."""
