"""The boundary of xbench: users' code, third-party libraries, signals, the terminal, the disk, secrets. No torch."""
