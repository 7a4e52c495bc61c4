"""Training of the small encoder from pixels; what comes after it sees tracks only."""
