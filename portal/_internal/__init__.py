"""Parts that several rooms share and no user imports: settings, locks, executors, files, JSON text."""
