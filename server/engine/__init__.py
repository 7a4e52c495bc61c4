"""Decode, encode, reason: one clip or a long video; health and reload."""
