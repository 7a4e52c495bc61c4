"""Readers of data sets, one a file: a folder or a file as published -> a table of segments."""
