"""What every room uses: records, settings, errors, paths, files, git and the clock. Values and thin edges only."""
