"""Hooks of git that run our checks; a hook that was there before still runs."""
