"""FeatureTrack, its extractor, file formats, store, checks and pack."""
