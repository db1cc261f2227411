"""Where pictures and sound come from: a camera, a file, the screen, a test pattern.

Each source owns its threads and calls back with what it has; see source.py for what they share.
"""
