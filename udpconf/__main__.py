"""``python -m udpconf`` is the command ``udpconf``."""

from udpconf.cli.main import main

if __name__ == "__main__":
    main()
