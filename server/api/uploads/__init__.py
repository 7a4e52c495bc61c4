"""Request bodies to bounded files in the spool directory."""
