"""How the weights that ship with the package were made, and can be made again."""
