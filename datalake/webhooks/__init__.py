"""Receives what source systems push: proves the sender, keeps the body, answers. Bodies become rows in the sources."""
