"""Functions and services as objects: resolved functions, proxies of services, and clients that `portal stub` writes."""
