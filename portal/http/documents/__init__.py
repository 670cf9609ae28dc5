"""What a portal says about itself: OpenAPI, and the page to try functions on."""
