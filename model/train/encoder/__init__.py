"""The small tabletop encoder, trained from pixels."""
