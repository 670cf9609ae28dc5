"""Where JavaScript runs: child processes for code that nobody here wrote, and threads for the developer's own."""
