"""Answers as text, on the video, and in other tools' formats."""
