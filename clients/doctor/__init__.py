"""What is wrong with an installation or a server, and what to do about it."""
