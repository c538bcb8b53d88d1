"""Pictures of recordings: `distribution` and `series` compute numbers, `style` and `charts` draw.

The last two need matplotlib (``pip install "shmring[plot]"``). Importing them fails without it.
"""
