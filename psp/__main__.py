"""`python -m psp` is the command `psp`."""

from psp.cli import main

if __name__ == "__main__":
    main()
