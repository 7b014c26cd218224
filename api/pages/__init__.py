"""Pages for a browser, without scripts and without anything from another host."""
