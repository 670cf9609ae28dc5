"""Limits on what connections of a listener may hold: rules without sockets, threads or clocks."""
