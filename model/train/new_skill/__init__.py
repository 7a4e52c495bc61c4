"""A task of the user's own on a bundle's frozen backbone."""
