"""`portal map`: calls for the lines of a file."""
