"""Links by mail: verified addresses and forgotten passwords."""
