"""Everything that lies in the home, and the only room that opens its files."""
