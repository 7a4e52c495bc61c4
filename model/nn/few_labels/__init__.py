"""Few-label classifiers: closed-form and convex voters on backbone features and prototypes."""
