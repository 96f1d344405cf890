"""`python -m cinemae` is the command `cinemae`."""

from cinemae.runtime.cli.main import main

if __name__ == "__main__":
    main()
