"""What people wrote into a picture file, or beside it: keywords, caption, title, rating."""
