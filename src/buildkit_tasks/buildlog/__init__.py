"""What a build prints while it runs, and the causes of a failure in what it printed."""
