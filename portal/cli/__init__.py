"""The command `portal`. `main` has the group; each subcommand has a module."""
