"""Cases that are known to end otherwise, with the reason. One that comes right fails, so that it leaves this list."""

KNOWN = {}
