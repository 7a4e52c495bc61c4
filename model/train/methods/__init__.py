"""Losses, stages and the methods that are made of them."""
