"""Reads the structure of image files before a decoder runs.

A decoder gets only the parts that the pixels of the first frame depend on, and only if the format's
own arithmetic bounds its work. Each module reads one format.
"""
