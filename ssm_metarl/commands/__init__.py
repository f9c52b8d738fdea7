"""The commands, one file each: its flags, what is valid, and what it does.

Modules that import torch are imported where they are used, so that ``--help`` is quick.
"""
