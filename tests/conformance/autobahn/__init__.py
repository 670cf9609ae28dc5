"""The Autobahn test suite against Portal's frames, in both directions."""
