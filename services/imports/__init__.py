"""Bringing files of millions of lines into the mall."""
