"""What happens around a call, on either side: middleware, dispatch, deadlines."""
