"""Documents about a portal: OpenAPI, and the page to try functions on."""
