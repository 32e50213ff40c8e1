"""What the lab knows: pure views of the history, which hold no truth of their own and can be made again any time."""
