"""Teaching over HTTP: kept clips, learnt versions of skills, and which of them are served."""
