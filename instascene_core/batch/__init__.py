"""Many recordings at once: a task a stage and an object, over processes and machines.

Frames and results pass from task to task as files in the output's folder, which all machines share.
"""
