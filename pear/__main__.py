"""``python -m pear`` is the ``pear`` command."""

from pear.cli.app import main

if __name__ == "__main__":
    main()
