"""Code that the transports share: connecting, the meaning of failures, functions at addresses."""
