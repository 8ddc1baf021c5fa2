"""The user's project: the resolved compose model, `.env`, ports."""
