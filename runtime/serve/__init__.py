"""The HTTP server: `cinemae serve`, and the same application on Ray Serve. Needs the extra `serve`."""
