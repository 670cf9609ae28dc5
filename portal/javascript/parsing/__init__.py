"""Read JavaScript without running it: tokens, comments, module syntax, and what looks dangerous."""
