"""The WebSocket portal under WSGI servers: gunicorn with threads, werkzeug and Flask's server, Django's runserver."""
