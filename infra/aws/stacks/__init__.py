"""One stack a concern. Each takes what it needs of the others as arguments, and shows what others need."""
