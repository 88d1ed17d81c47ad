"""TIFF, whose layouts are many; `picture` opens one, the others each know one part of it."""
