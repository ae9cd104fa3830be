"""What grows with requests, models and accounts: measured on real servers, and where it ends."""
