"""How clients of every transport connect: addresses of a host, proxies, TLS, and what their failures mean."""
