"""The client for pages in browsers: one file of JavaScript without a build step, and its types."""
