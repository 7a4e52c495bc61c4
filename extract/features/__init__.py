"""FeatureTrack, the extractor that makes it, its files, their store and pack."""
