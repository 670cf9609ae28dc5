"""What the connections of a listener may hold: the rules, without sockets, threads or clocks."""
