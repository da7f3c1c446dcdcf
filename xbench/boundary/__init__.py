"""Where xbench meets what is not its own: users' code, libraries, signals, terminal, disk, secrets. No torch."""
