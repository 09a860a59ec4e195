"""The verbs of the command `instascene`, a file each; a verb loads what it needs when it is called."""
