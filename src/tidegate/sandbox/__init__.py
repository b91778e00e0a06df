"""Stand-ins for systems that can't be installed here: they speak the real protocol, refuse what the real one refuses, and
listen on loopback only."""
