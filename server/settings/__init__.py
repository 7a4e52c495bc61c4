"""Every EGOPACK_* setting, and the checks on them."""
