"""What the transports to servers share: how clients connect, what failures mean, functions at addresses."""
