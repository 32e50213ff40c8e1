"""Shows people the morning page, its charts, the live view and doctor. Views read, and judge nothing."""
