"""The command: from argv to jobs, their progress, and what is printed at the end. Imports no torch."""
