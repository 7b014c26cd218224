"""Pages for a browser: rendered here, without scripts, and with nothing from anywhere else."""
