"""HTML pages from the history: the timeline of a build, and build times, hit rates and sizes over time."""
