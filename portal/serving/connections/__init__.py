"""The open connections of a listener, and one exchange of a request and its response."""
