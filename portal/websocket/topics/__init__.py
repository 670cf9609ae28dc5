"""Topics: named sequences of events that remember the last ones, so that a subscriber can resume."""
