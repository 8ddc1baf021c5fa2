"""Cache mounts: viewing, opening, clearing, trimming, warming and pruning them."""
