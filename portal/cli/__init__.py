"""The command `portal`. Each subcommand has a module; `main` has the group."""
