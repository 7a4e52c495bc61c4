"""Many videos: manifest, decoding and encoding, feature files, report."""
