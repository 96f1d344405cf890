"""From an engine file to an `Engine`: `load` checks the file and picks a backend; one module for each backend."""
