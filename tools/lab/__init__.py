"""The parts of tools/lab.py: marks in pictures and sound, the two processes of a run, and what is read from a run."""
